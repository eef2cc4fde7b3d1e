# Rules stand in the group itself: one that somebody adds by hand is taken out by the next apply. And the VPC's networks
# need not be known when a plan is made, as they are not when the VPC is created by the same apply.

resource "aws_security_group" "this" {
  # checkov:skip=CKV_AWS_382:the appliance is the way out, and itself decides what leaves
  name_prefix = "${var.name}-"
  description = "Appliances of the discriminat deployment ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = var.name })

  ingress {
    description = "Clients of this VPC: whatever they send to the Internet, for the appliance to filter"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = local.client_cidrs
  }

  ingress {
    description = "Health probes: GET /healthz"
    protocol    = "tcp"
    from_port   = local.health_port
    to_port     = local.health_port
    cidr_blocks = local.health_cidrs
  }

  egress {
    description = "Appliance: what it lets out for clients, its look-ups, and the AWS API"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }

  lifecycle {
    create_before_destroy = true
  }
}
