# One network interface for each zone. It outlives the instances: the launch template pins it, so a new instance has the
# id, the private address, the Elastic IP and the routes of the one before, and needs no right to touch any of them.
#
# Ids are taken from the variables, not from the data sources that check them: what is read late, as when a plan is made
# under a `depends_on`, would count as changed, and the interface would be made anew.

data "aws_subnet" "public" {
  for_each = var.zones

  id = each.value.public_subnet_id
}

resource "aws_network_interface" "this" {
  for_each = var.zones

  description       = local.interface_descriptions[each.key]
  subnet_id         = each.value.public_subnet_id
  security_groups   = [aws_security_group.this.id]
  source_dest_check = false
  tags              = merge(var.tags, { Name = local.names[each.key] })

  lifecycle {
    precondition {
      condition     = data.aws_subnet.public[each.key].vpc_id == var.vpc_id
      error_message = "The public subnet of ${each.key}, ${each.value.public_subnet_id}, belongs to ${data.aws_subnet.public[each.key].vpc_id}: name a subnet of ${var.vpc_id}."
    }

    precondition {
      condition     = data.aws_subnet.public[each.key].availability_zone == each.key
      error_message = "The public subnet of ${each.key}, ${each.value.public_subnet_id}, lies in ${data.aws_subnet.public[each.key].availability_zone}: name a subnet of ${each.key}, or change the key."
    }
  }
}

# ---- public addresses -------------------------------------------------------------------------------

locals {
  interface_descriptions = { for zone in keys(var.zones) : zone => "discriminat ${var.name} ${zone}" }
  given_eips             = { for zone, each in var.zones : zone => each.eip.allocation_id if each.eip != null }
}

resource "aws_eip" "this" {
  # checkov:skip=CKV2_AWS_19:it belongs to the network interface, which the instance is launched with
  for_each = { for zone, each in var.zones : zone => each if each.eip == null }

  domain = "vpc"
  tags   = merge(var.tags, { Name = local.names[each.key] })
}

data "aws_eip" "given" {
  for_each = local.given_eips

  id = each.value
}

# Our interfaces as AWS knows them. A plan must tell an address that is bound to them from one that serves somebody else,
# before the first apply as well, when the resource has no id to compare with.
data "aws_network_interfaces" "own" {
  for_each = local.given_eips

  filter {
    name   = "description"
    values = [local.interface_descriptions[each.key]]
  }

  filter {
    name   = "tag:Name"
    values = [local.names[each.key]]
  }
}

resource "aws_eip_association" "this" {
  for_each = var.zones

  allocation_id        = each.value.eip == null ? aws_eip.this[each.key].id : each.value.eip.allocation_id
  network_interface_id = aws_network_interface.this[each.key].id

  # Never taken from somebody: AWS refuses it too, should the address have been bound since the plan.
  allow_reassociation = false

  lifecycle {
    precondition {
      condition = each.value.eip == null || try(
        coalesce(data.aws_eip.given[each.key].association_id, "none") == "none"
        || contains(data.aws_network_interfaces.own[each.key].ids, data.aws_eip.given[each.key].network_interface_id),
        false
      )
      error_message = "The Elastic IP of ${each.key}, ${try(each.value.eip.allocation_id, "")}, is in use by ${try(data.aws_eip.given[each.key].network_interface_id, "something else")}: free it, name another one, or leave eip out to have one made."
    }
  }
}

# ---- the way out ------------------------------------------------------------------------------------

locals {
  routes = merge([
    for zone, each in var.zones : {
      for place, id in each.private_route_table_ids : "${zone}/${place}" => { zone = zone, route_table_id = id }
    }
  ]...)
}

data "aws_route_table" "private" {
  for_each = local.routes

  route_table_id = each.value.route_table_id
}

# Last of all, so that traffic turns to appliances that filter.
resource "aws_route" "default" {
  for_each = local.routes

  route_table_id         = each.value.route_table_id
  destination_cidr_block = "0.0.0.0/0"
  network_interface_id   = aws_network_interface.this[each.value.zone].id

  lifecycle {
    precondition {
      condition     = data.aws_route_table.private[each.key].vpc_id == var.vpc_id
      error_message = "The route table ${each.value.route_table_id} of ${each.value.zone} belongs to ${data.aws_route_table.private[each.key].vpc_id}: name a table of ${var.vpc_id}."
    }

    precondition {
      condition     = length(setintersection(data.aws_route_table.private[each.key].associations[*].subnet_id, values(var.zones)[*].public_subnet_id)) == 0
      error_message = "The route table ${each.value.route_table_id} of ${each.value.zone} is that of an appliance's own subnet, which would have no way out: name the tables of private subnets."
    }
  }

  depends_on = [aws_autoscaling_group.this]
}
