# From names to rules.
#
# AWS takes 255 characters in a rule's description, and refuses two rules of a group with the same protocol, port and
# destination. The appliance takes 0.0.0.0/0, /1, /2, ... /32 for anywhere, so that a port can have 33 descriptions.
#
# Which of them a name goes to should hang on the other names as little as possible. Were they filled one after the
# other, a name more would push names on from each to the next, and while AWS is being told, some would be in neither.
# So each name has a number, from its hash, and goes where its remainder says: modulo 1, or 2, or 4, ..., whichever is
# the first with which all names of the same remainder fit together. Put otherwise: one description holds all names
# until it is full; then they part in two by the next bit of their numbers, and all other descriptions stay as they are.
# The order of the names plays no part. The price: descriptions are about two thirds full.

locals {
  description_max = 255                                  # characters, EC2 API, IpRange
  masks           = range(33)                            # 0.0.0.0/0 to 0.0.0.0/32
  moduli          = [for bit in range(11) : pow(2, bit)] # names that 1024 cannot part get rules of their own

  # All is lower-case but for what AWS calls a list, behind @ssm and @secret.
  names = flatten([for protocol, ports in { ssh = var.ssh, tls = var.tls } : [
    for port, names in ports : [
      for name in distinct([for name in names :
        startswith(lower(name), "@s") ? replace(name, "/^@[^/]*/", lower(split("/", name)[0])) : trimsuffix(lower(name), ".")
        ]) : {
        port     = port
        protocol = protocol
        name     = name
        number   = parseint(substr(sha256("${protocol}:${name}"), 0, 8), 16)
      }
    ]
  ]])

  # Where each name could go, from the widest to its own: "443/1/0", "443/2/1", "443/4/3", ... "443/tls:api.example.com".
  paths = [for name in local.names : concat(
    [for modulus in local.moduli : "${name.port}/${modulus}/${name.number % modulus}"],
    ["${name.port}/${name.protocol}:${name.name}"],
  )]
  bins = { for place in flatten([for index, name in local.names : [
    for bin in local.paths[index] : { bin = bin, name = name }
  ]]) : place.bin => place.name... }

  # Both protocols of a port share its masks, and may share a description.
  descriptions = { for bin, names in local.bins : bin => join(" ", [
    for protocol in ["tls", "ssh"] :
    "discriminat:${protocol}:${join(",", sort([for name in names : name.name if name.protocol == protocol]))}"
    if contains(names[*].protocol, protocol)
  ]) }

  # Where the names of each port go: "443" => ["443/2/0", "443/4/1", "443/4/3"].
  filled = { for port, bins in { for index, name in local.names : name.port => [
    for bin in local.paths[index] : bin if length(local.descriptions[bin]) <= local.description_max
  ][0]... } : port => distinct(bins) }

  # The remainder is the mask, so that a description keeps its rule while others part; no two remainders of a port are
  # the same. The least of them counts as 0: AWS enforces the mask literally, and 0.0.0.0/0 has to be among them. Names
  # with a rule of their own have no remainder, and of those above 32 there is no mask; they get the masks that are left.
  # What finds none is refused in outputs.tf.
  remainders = { for port, bins in local.filled : port => {
    for bin in bins : bin => tonumber(split("/", bin)[2]) if try(tonumber(split("/", bin)[2]) <= 32, false)
  } }
  settled = { for port, remainders in local.remainders : port => {
    for bin, remainder in remainders : bin => remainder == min(values(remainders)...) ? 0 : remainder
  } }
  unsettled = { for port, bins in local.filled : port => [for bin in bins : bin if !contains(keys(local.settled[port]), bin)] }
  left      = { for port, settled in local.settled : port => [for mask in local.masks : mask if !contains(values(settled), mask)] }
  masked = { for port, settled in local.settled : port => merge(settled, {
    for index, bin in sort(local.unsettled[port]) : bin => local.left[port][index] if index < length(local.left[port])
  }) }

  # The keys are what the appliance calls the rules in its logs.
  by_name = merge([for port, masked in local.masked : {
    for bin, mask in masked : "tcp/${port} 0.0.0.0/${mask}" => {
      protocol    = "tcp"
      port        = tonumber(port)
      destination = "0.0.0.0/${mask}"
      description = local.descriptions[bin]
    }
  }]...)
  see_thru = { for date in var.see_thru[*] : "all 0.0.0.0/0" => {
    protocol    = "-1"
    port        = null
    destination = "0.0.0.0/0"
    description = "discriminat:see-thru:${date}"
  } }
  rules = merge(local.by_name, local.see_thru)
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.rules

  security_group_id = var.security_group_id
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.destination
  description       = each.value.description
  tags              = var.tags
}

check "see_thru" {
  assert {
    condition     = var.see_thru == null || try(timecmp(plantimestamp(), "${var.see_thru}T23:59:59Z") <= 0, false)
    error_message = "see_thru ended on ${coalesce(var.see_thru, "-")}, and its rule still opens the group to all traffic: set it to null, or give a later date."
  }
  assert {
    condition     = var.see_thru == null || try(timecmp("${var.see_thru}T00:00:00Z", timeadd(plantimestamp(), "8760h")) <= 0, false)
    error_message = "see_thru holds until ${coalesce(var.see_thru, "-")}: it lets everything pass, so give a date within a year, and move it on when it is needed."
  }
}
