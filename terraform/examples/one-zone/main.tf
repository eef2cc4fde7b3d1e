# A VPC with one zone, and an appliance in it.

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
  description = "Region to create it in."
  type        = string
  default     = "eu-west-2"
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
  zone = sort(data.aws_availability_zones.this.names)[0]
}

module "discriminat" {
  source = "../../"

  name   = "one-zone"
  vpc_id = aws_vpc.this.id

  zones = {
    (local.zone) = {
      # By way of the association: an Elastic IP can be bound only once the subnet has its way to the Internet.
      public_subnet_id        = aws_route_table_association.public.subnet_id
      private_route_table_ids = [aws_route_table.private.id]
    }
  }
}

# ---- the VPC ----------------------------------------------------------------------------------------

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11:flow logs of the VPC are for its owner to choose; the appliance logs its own
  # checkov:skip=CKV2_AWS_12:nothing is launched with the default group, which is for its owner to close
  cidr_block           = "10.10.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = "one-zone" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "public" {
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zone
  cidr_block        = "10.10.0.0/24"
  tags              = { Name = "one-zone-public" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

# The module writes the default route, so the table has no routes of its own here.
resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "one-zone-private" }
}

resource "aws_subnet" "private" {
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zone
  cidr_block        = "10.10.1.0/24"
  tags              = { Name = "one-zone-private" }
}

resource "aws_route_table_association" "private" {
  subnet_id      = aws_subnet.private.id
  route_table_id = aws_route_table.private.id
}

# ---- what to build on -------------------------------------------------------------------------------

output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_id" {
  description = "Where workloads go."
  value       = aws_subnet.private.id
}

output "public_ips" {
  description = "What servers outside see."
  value       = module.discriminat.public_ips
}
