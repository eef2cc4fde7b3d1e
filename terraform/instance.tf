# One instance for each zone, born on the network interface of the zone. As that is in one place at a time, the old
# instance goes before the new one comes.

data "aws_ec2_instance_type" "this" {
  instance_type = var.instance_type

  lifecycle {
    postcondition {
      condition     = length(setintersection(self.supported_architectures, ["arm64", "x86_64"])) > 0
      error_message = "${var.instance_type} is neither arm64 nor x86_64, and images are one of these: choose another instance_type."
    }
  }
}

data "aws_ec2_instance_type_offerings" "this" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }
}

# ---- the image --------------------------------------------------------------------------------------

locals {
  architecture = contains(data.aws_ec2_instance_type.this.supported_architectures, "arm64") ? "arm64" : "x86_64"
  version      = coalesce(var.ami.version, "pinned")

  # A release manifest has the images of each architecture by region, and the account that published them.
  manifest     = var.ami.manifest == null ? null : jsondecode(file(var.ami.manifest))
  manifested   = var.ami.manifest == null ? [] : keys(local.manifest.images)
  regions      = try(local.manifest.images[local.architecture].regions, {})
  image_owner  = try(local.manifest.account, var.ami.owner)
  image_id     = var.ami.manifest == null ? var.ami.id : try(local.regions[data.aws_region.current.name].image, null)
  image_wanted = local.image_id == null ? "called ${join(" or ", local.image_names)}" : "with the id ${local.image_id}"

  # A version, or one that begins with it: of 1.2 come 1.2.0 and 1.2.9, not 1.20.0 nor 1.2.9-rc1.
  image_names      = [for tail in(var.ami.auto_update ? ["", ".*"] : [""]) : "${var.ami.name}-${local.version}${tail}-${local.architecture}"]
  image_name_regex = "^${var.ami.name}-${replace(local.version, ".", "\\.")}(\\.[0-9]+)*-${local.architecture}$"
}

# A list, which may be empty, so that it is us who say what is missing.
data "aws_ami_ids" "this" {
  owners             = [local.image_owner]
  include_deprecated = !var.ami.auto_update
  name_regex         = local.image_id == null ? local.image_name_regex : null

  filter {
    name   = local.image_id == null ? "name" : "image-id"
    values = local.image_id == null ? local.image_names : [local.image_id]
  }

  filter {
    name   = "state"
    values = ["available"]
  }

  lifecycle {
    precondition {
      condition     = var.ami.manifest == null || contains(local.manifested, local.architecture)
      error_message = "${coalesce(var.ami.manifest, "ami.manifest")} has no image for ${local.architecture}, which ${var.instance_type} is, only for ${join(", ", local.manifested)}: publish that too, or choose another instance_type."
    }

    precondition {
      condition     = var.ami.manifest == null || !contains(local.manifested, local.architecture) || contains(keys(local.regions), data.aws_region.current.name)
      error_message = "${coalesce(var.ami.manifest, "ami.manifest")} has no image for ${local.architecture} in ${data.aws_region.current.name}, only in ${join(", ", keys(local.regions))}: publish it there (--copy-to), or deploy in one of these."
    }

    postcondition {
      condition     = length(self.ids) > 0
      error_message = "${local.image_owner} has no image ${local.image_wanted} in ${data.aws_region.current.name}: publish it there, or change ami.owner, ami.version, ami.manifest or ami.id."
    }
  }
}

data "aws_ami" "this" {
  owners             = [local.image_owner]
  include_deprecated = true

  filter {
    name   = "image-id"
    values = [data.aws_ami_ids.this.ids[0]]
  }

  lifecycle {
    postcondition {
      condition     = contains(data.aws_ec2_instance_type.this.supported_architectures, self.architecture)
      error_message = "The image ${self.id} is made for ${self.architecture}, which ${var.instance_type} is not: pin an image for ${local.architecture}, or choose an instance_type that is ${self.architecture}."
    }

    postcondition {
      condition = var.root_volume.size_gib >= max(0, [
        for device in self.block_device_mappings : try(tonumber(device.ebs.volume_size), 0) if device.device_name == self.root_device_name
      ]...)
      error_message = "The image ${self.id} does not fit on a disk of ${var.root_volume.size_gib} GiB: raise root_volume.size_gib."
    }
  }
}

# ---- launching --------------------------------------------------------------------------------------

locals {
  # The program's own filter lets clients probe; others only if it is told.
  probes = length(var.health_check_cidrs) > 0 ? "\nclients = ${jsonencode(var.health_check_cidrs)}" : ""

  # What annotations call @list/NAME.
  aliases = length(var.lists.elsewhere) > 0 ? "\n[lists]\narns = ${jsonencode([for name, arn in var.lists.elsewhere : "${name}=${arn}"])}" : ""

  # The same tables and keys as the program's settings file. JSON's texts are TOML's.
  user_data = {
    for zone, name in local.names : zone => <<-EOT
      # Settings of discriminat; written by Terraform
      [aws]
      deployment = ${jsonencode(var.name)}
      auto_scaling_group = ${jsonencode(name)}
      launch_hook = ${jsonencode(local.launch_hook)}
      [preferences]
      parameter = ${jsonencode(local.parameter)}
      [logs]
      group = ${jsonencode(local.log_group)}
      [health]
      port = ${local.health_port}${local.probes}${local.aliases}
    EOT
  }
}

resource "aws_launch_template" "this" {
  for_each = var.zones

  name                   = local.names[each.key]
  description            = "discriminat ${var.name}, the appliance of ${each.key}"
  update_default_version = true
  image_id               = data.aws_ami.this.id
  instance_type          = var.instance_type
  user_data              = base64encode(local.user_data[each.key])
  tags                   = merge(var.tags, { Name = local.names[each.key] })

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  network_interfaces {
    device_index         = 0
    network_interface_id = aws_network_interface.this[each.key].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = data.aws_ami.this.root_device_name

    ebs {
      volume_type           = "gp3"
      volume_size           = var.root_volume.size_gib
      encrypted             = true
      kms_key_id            = var.root_volume.kms_key_arn
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]

    content {
      resource_type = tag_specifications.value
      tags          = merge(var.tags, { Name = local.names[each.key] })
    }
  }

  lifecycle {
    precondition {
      condition     = contains(data.aws_ec2_instance_type_offerings.this.locations, each.key)
      error_message = "AWS has no ${var.instance_type} in ${each.key}: choose another instance_type, or a zone of ${data.aws_region.current.name} that has it."
    }
  }
}

resource "aws_autoscaling_group" "this" {
  for_each = var.zones

  name               = local.names[each.key]
  min_size           = 1
  max_size           = 1
  desired_capacity   = 1
  availability_zones = [each.key] # not a subnet: the interface has its own

  health_check_type         = "EC2" # and the appliance itself, which reports what AWS cannot see
  health_check_grace_period = 0     # the launch hook has seen it filter
  wait_for_capacity_timeout = "15m"
  enabled_metrics           = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances"]

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }

  # In the group from its first moment, so that the first instance is held as well.
  initial_lifecycle_hook {
    name                 = local.launch_hook
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    default_result       = "ABANDON"
    heartbeat_timeout    = 600
  }

  # No auto_rollback: it goes back to the version of the template that the group had when the refresh began, and the
  # provider writes the new one into the group first. It would launch what has just failed.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 0 # the interface is on one instance only
    }
  }

  # The instances have theirs from the launch template.
  dynamic "tag" {
    for_each = merge(var.tags, { Name = local.names[each.key] })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  lifecycle {
    # An interface in use cannot be deleted: the instance on it goes first.
    replace_triggered_by = [aws_network_interface.this[each.key].id]
  }

  # What an appliance needs to become ready, and to be stopped in order.
  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_eip_association.this,
    aws_iam_role_policy.this,
    aws_ssm_parameter.preferences,
  ]
}
