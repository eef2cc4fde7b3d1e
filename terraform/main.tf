# What the other files share. Everything that exists once for each zone is a map by the zone's name.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_vpc" "this" {
  id = var.vpc_id
}

locals {
  # The product's own names where there is one deployment, and room for others beside it.
  suffix       = var.name == "discriminat" ? "" : "_${var.name}"
  log_group    = "discrimiNAT${local.suffix}"
  parameter    = "DiscrimiNAT${local.suffix}"
  launch_hook  = "${var.name}-ready"
  health_port  = 1042
  names        = { for zone in keys(var.zones) : zone => "${var.name}-${zone}" }
  vpc_cidrs    = [for each in data.aws_vpc.this.cidr_block_associations : each.cidr_block if each.state == "associated"]
  client_cidrs = concat(local.vpc_cidrs, var.preferences.clients)
  health_cidrs = length(var.health_check_cidrs) > 0 ? var.health_check_cidrs : local.vpc_cidrs
  partition    = data.aws_partition.current.partition
  account      = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}" # as ARNs have it
}

# ---- the log and the preferences --------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "this" {
  name              = local.log_group
  retention_in_days = var.log.retention_days
  kms_key_id        = var.log.kms_key_arn
  tags              = var.tags
}

resource "aws_ssm_parameter" "preferences" {
  # checkov:skip=CKV2_AWS_34:preferences are no secret, and a plan should show what changes in them
  name           = local.parameter
  description    = "Preferences of the discriminat deployment ${var.name}"
  type           = "String"
  insecure_value = jsonencode({ "%default" = var.preferences })
  tags           = var.tags
}
