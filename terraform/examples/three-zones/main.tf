# A VPC with three zones, an appliance in each; workloads of a zone leave by the appliance of their own.

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
  description = "Region to create it in; it has three zones or more."
  type        = string
  default     = "eu-west-2"
}

variable "name" {
  description = "Name of the VPC and of the deployment."
  type        = string
  default     = "egress"
}

data "aws_availability_zones" "this" {
  # checkov:skip=CKV_AWS_394:an example takes whichever zones come first; a deployment names its own
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  # Zones by name, with a number for their networks.
  zones = { for number, zone in slice(sort(data.aws_availability_zones.this.names), 0, 3) : zone => number }
}

module "discriminat" {
  source = "../../"

  name   = var.name
  vpc_id = aws_vpc.this.id

  zones = {
    for zone in keys(local.zones) : zone => {
      # By way of the association: an Elastic IP can be bound only once the subnet has its way to the Internet.
      public_subnet_id        = aws_route_table_association.public[zone].subnet_id
      private_route_table_ids = [aws_route_table.private[zone].id]
    }
  }
}

# ---- the VPC ----------------------------------------------------------------------------------------

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11:flow logs of the VPC are for its owner to choose; the appliance logs its own
  # checkov:skip=CKV2_AWS_12:nothing is launched with the default group, which is for its owner to close
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, each.value)
  tags              = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public.id
}

# The module writes the default routes, so these tables have none of their own here.
resource "aws_route_table" "private" {
  for_each = local.zones

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, 100 + each.value)
  tags              = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table_association" "private" {
  for_each = local.zones

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

# ---- what to build on -------------------------------------------------------------------------------

output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Where workloads go, by zone."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
}

output "public_subnet_ids" {
  description = "Where the appliances stand, by zone."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
}

output "discriminat" {
  description = "All that the module gives."
  value       = module.discriminat
}
