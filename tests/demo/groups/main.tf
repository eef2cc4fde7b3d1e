# The Security Groups of the demo, from the table in tests/demo/scenarios.py: `python -m tests.demo --terraform` applies
# it to the VPC of terraform/examples/three-zones. What the project ships is in terraform/examples/workloads.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100"
    }
  }
}

variable "vpc_id" {
  description = "VPC of the workloads."
  type        = string
}

variable "groups" {
  description = "Egress rules of each group, and what may come in."
  type = map(object({
    egress  = list(object({ protocol = string, from_port = number, to_port = number, peer = string, description = string }))
    ingress = list(object({ protocol = string, from_port = number, to_port = number, peer = string, description = string }))
  }))
}

locals {
  egress  = merge([for name, group in var.groups : { for place, rule in group.egress : "${name}/${place}" => merge(rule, { group = name }) }]...)
  ingress = merge([for name, group in var.groups : { for place, rule in group.ingress : "${name}/${place}" => merge(rule, { group = name }) }]...)
}

resource "aws_security_group" "this" {
  for_each = var.groups

  name   = each.key
  vpc_id = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.egress

  security_group_id = aws_security_group.this[each.value.group].id
  ip_protocol       = each.value.protocol
  from_port         = each.value.protocol == "-1" ? null : each.value.from_port
  to_port           = each.value.protocol == "-1" ? null : each.value.to_port
  cidr_ipv4         = each.value.peer
  description       = each.value.description == "" ? null : each.value.description
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.ingress

  security_group_id = aws_security_group.this[each.value.group].id
  ip_protocol       = each.value.protocol
  from_port         = each.value.from_port
  to_port           = each.value.to_port
  cidr_ipv4         = each.value.peer
}

output "security_group_ids" {
  description = "Ids of the groups, by name."
  value       = { for name, group in aws_security_group.this : name => group.id }
}
