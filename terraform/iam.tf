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
}

resource "aws_iam_instance_profile" "this" {
  name = aws_iam_role.this.name
  role = aws_iam_role.this.name
  tags = var.tags
}
