# A VPC that exists: inputs in the shape of the outputs of terraform-aws-modules/vpc, whose lists are in the order of
# its zones. Set its enable_nat_gateway = false and one_nat_gateway_per_az = true beforehand: no default route of its own,
# and a private route table for each zone.

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
  description = "module.vpc.vpc_id"
  type        = string
}

variable "azs" {
  description = "module.vpc.azs"
  type        = list(string)
}

variable "public_subnets" {
  description = "module.vpc.public_subnets"
  type        = list(string)
}

variable "private_route_table_ids" {
  description = "module.vpc.private_route_table_ids"
  type        = list(string)

  validation {
    condition     = length(var.private_route_table_ids) == length(var.azs)
    error_message = "There must be a private route table for each zone: with terraform-aws-modules/vpc, set single_nat_gateway = false."
  }
}

module "discriminat" {
  source = "../../"

  name   = "existing"
  vpc_id = var.vpc_id

  zones = {
    for place, zone in var.azs : zone => {
      public_subnet_id        = var.public_subnets[place]
      private_route_table_ids = [var.private_route_table_ids[place]]
    }
  }
}

output "public_ips" {
  description = "What servers outside see, by zone."
  value       = module.discriminat.public_ips
}
