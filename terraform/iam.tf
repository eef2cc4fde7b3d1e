# The role of the appliances: what the program calls and nothing else. No right to change anything in EC2.
#
# ARNs are put together here, so that a plan shows the whole policy before anything exists.

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "InstancesTakeThisRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.${data.aws_partition.current.dns_suffix}"]
    }
  }
}

locals {
  list_parameters = concat(
    [for name in var.lists.parameters : "arn:${local.partition}:ssm:${local.account}:parameter/${trimprefix(name, "/")}"],
    [for arn in values(var.lists.elsewhere) : arn if split(":", arn)[2] == "ssm"],
  )
  list_secrets = concat(
    [for name in var.lists.secrets : "arn:${local.partition}:secretsmanager:${local.account}:secret:${name}-??????"],
    [for arn in values(var.lists.elsewhere) : arn if split(":", arn)[2] == "secretsmanager"],
  )
}

data "aws_iam_policy_document" "role" {
  # "*" where it stands: EC2's Describe actions and Session Manager's know no resources; a prefix list may be AWS's or of
  # another account, and which one a rule leads to is known to its author alone
  statement {
    sid = "ReadPolicy"
    actions = [
      "ec2:DescribeManagedPrefixLists",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:GetManagedPrefixListEntries",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [data.aws_region.current.name]
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.account}:log-group:${local.log_group}:*"]
  }

  statement {
    sid       = "ReadPreferences"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${local.partition}:ssm:${local.account}:parameter/${local.parameter}"]
  }

  statement {
    sid     = "ReportReadiness"
    actions = ["autoscaling:CompleteLifecycleAction", "autoscaling:SetInstanceHealth"]
    resources = [
      for name in values(local.names) :
      "arn:${local.partition}:autoscaling:${local.account}:autoScalingGroup:*:autoScalingGroupName/${name}"
    ]
  }

  # What `lists` names and nothing beside it. A secret's ARN ends in a hyphen and six characters that AWS chooses: as every
  # `?` is one of them, no other name fits.

  dynamic "statement" {
    for_each = length(local.list_parameters) > 0 ? ["ReadLists"] : []

    content {
      sid       = statement.value
      actions   = ["ssm:GetParameter"]
      resources = local.list_parameters
    }
  }

  dynamic "statement" {
    for_each = length(local.list_secrets) > 0 ? ["ReadSecretLists"] : []

    content {
      sid       = statement.value
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.list_secrets
    }
  }

  dynamic "statement" {
    for_each = length(var.lists.kms_keys) > 0 ? ["DecryptSecretLists"] : []

    content {
      sid       = statement.value
      actions   = ["kms:Decrypt"]
      resources = var.lists.kms_keys

      # A key is used in its own region only. Of partitions with a suffix of their own, AWS does not tell which of the two
      # this has; either is said by Secrets Manager alone.
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values = distinct(flatten([for arn in var.lists.kms_keys : [
          for suffix in ["amazonaws.com", data.aws_partition.current.dns_suffix] : "secretsmanager.${split(":", arn)[3]}.${suffix}"
        ]]))
      }
    }
  }

  dynamic "statement" {
    for_each = var.session_manager ? ["SessionManager"] : []

    content {
      sid = statement.value
      actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = "${var.name}-${data.aws_region.current.name}"
  description          = "Appliances of the discriminat deployment ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "this" {
  name   = "appliance"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.role.json

  lifecycle {
    precondition {
      # IAM takes 10,240 characters, and the rest of the policy has less than 2,240, with six zones too
      condition     = length(jsonencode(concat(local.list_parameters, local.list_secrets, tolist(var.lists.kms_keys)))) <= 8000
      error_message = "The ARNs of lists have more than 8,000 characters together, and the policy of a role has no room for them: make one list of several."
    }
  }
}

resource "aws_iam_instance_profile" "this" {
  name = aws_iam_role.this.name
  role = aws_iam_role.this.name
  tags = var.tags
}
