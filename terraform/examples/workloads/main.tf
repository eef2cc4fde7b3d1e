# Two workloads in a VPC that has the appliance, and what each may reach: the descriptions of their egress rules say it.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Region of the VPC."
  type        = string
  default     = "eu-west-2"
}

variable "vpc_id" {
  description = "VPC that the workloads live in."
  type        = string
  nullable    = false
}

# By hand: a rule for one TCP port, to anywhere; the names are narrower than any address.

resource "aws_security_group" "web" {
  # checkov:skip=CKV2_AWS_5:the instances that would have it are not part of the example
  name_prefix = "web-"
  description = "Web servers: who wears this reaches api.example.com"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_egress_rule" "web_https" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
  description       = "discriminat:tls:api.example.com"
}

# Through the module: it counts the characters, and adds rules as the lists grow.

resource "aws_security_group" "build" {
  # checkov:skip=CKV2_AWS_5:the instances that would have it are not part of the example
  name_prefix = "build-"
  description = "Build machines: who wears this reaches what the module below lists"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

module "build_allowlist" {
  source = "../../modules/allowlist"

  security_group_id = aws_security_group.build.id

  tls = {
    # A list that is kept elsewhere may stand among them, such as "@ssm/apps/acme/allow", once `lists` of the appliances
    # names it.
    443 = ["api.example.com", "files.example.com"]
  }
  ssh = {
    22 = ["git.example.com"]
  }

  # To find out what else a workload needs: the last day (UTC), such as "2027-01-31", on which everything passes and is
  # logged. Set it back to null when the names are listed.
  see_thru = null
}

output "security_group_ids" {
  description = "Security Groups to put on the workloads' interfaces."
  value = {
    web   = aws_security_group.web.id
    build = aws_security_group.build.id
  }
}
