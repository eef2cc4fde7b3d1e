# ---- where ----------------------------------------------------------------------------------------

variable "name" {
  description = "Name of this deployment. Whatever it creates is named after it, so it is unique in its account and region."
  type        = string
  nullable    = false
  default     = "discriminat"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.name))
    error_message = "name has 2 to 32 lower-case letters, digits and hyphens; it begins with a letter and does not end with a hyphen."
  }
}

variable "vpc_id" {
  description = "VPC whose private subnets are filtered. Its IPv4 networks, the secondary ones too, may reach the appliances."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id is the id of a VPC, such as vpc-0a1b2c3d4e5f60718."
  }
}

variable "zones" {
  description = <<-EOT
    One appliance for each Availability Zone, by the name of the zone: the public subnet it stands in, the route tables
    of the private subnets it serves, and, to keep public addresses of one's own, an Elastic IP that exists. Append to
    `private_route_table_ids`: a table that changes its place in the list is without its route for a moment.
  EOT
  type = map(object({
    public_subnet_id        = string
    private_route_table_ids = list(string)
    eip                     = optional(object({ allocation_id = string }))
  }))
  nullable = false

  validation {
    condition     = length(var.zones) > 0
    error_message = "zones is empty: name at least one Availability Zone, or nothing would be filtered."
  }

  validation {
    condition     = alltrue([for zone in keys(var.zones) : can(regex("^[a-z]{2}(-[a-z0-9]+)+-[0-9]+[a-z]$", zone))])
    error_message = "A key of zones is the name of an Availability Zone with its letter, such as eu-west-2a; an id such as euw2-az1 will not do."
  }

  validation {
    condition     = alltrue([for zone in values(var.zones) : can(regex("^subnet-[0-9a-f]{8,17}$", zone.public_subnet_id))])
    error_message = "public_subnet_id of each zone is the id of a subnet, such as subnet-0a1b2c3d4e5f60718."
  }

  validation {
    condition     = alltrue([for zone in values(var.zones) : length(zone.private_route_table_ids) > 0])
    error_message = "Each zone needs at least one of private_route_table_ids: an appliance that no table leads to filters nothing. Leave the zone out, or name its tables."
  }

  validation {
    condition     = alltrue(flatten([for zone in values(var.zones) : [for id in zone.private_route_table_ids : can(regex("^rtb-[0-9a-f]{8,17}$", id))]]))
    error_message = "private_route_table_ids are ids of route tables, such as rtb-0a1b2c3d4e5f60718."
  }

  validation {
    condition     = length(distinct([for zone in values(var.zones) : zone.public_subnet_id])) == length(var.zones)
    error_message = "Two zones have the same public_subnet_id: a subnet lies in one zone, so give each zone its own."
  }

  validation {
    condition     = length(distinct(flatten([for zone in values(var.zones) : zone.private_route_table_ids]))) == length(flatten([for zone in values(var.zones) : zone.private_route_table_ids]))
    error_message = "The same route table stands twice in private_route_table_ids: it has one default route, so name it once, in the zone of its subnets."
  }

  validation {
    condition     = alltrue([for zone in values(var.zones) : can(regex("^eipalloc-[0-9a-f]{8,17}$", zone.eip.allocation_id)) if zone.eip != null])
    error_message = "eip.allocation_id is the allocation id of an Elastic IP, such as eipalloc-0a1b2c3d4e5f60718; for its address, see `aws ec2 describe-addresses`."
  }

  validation {
    condition     = length(distinct([for zone in values(var.zones) : zone.eip.allocation_id if zone.eip != null])) == length([for zone in values(var.zones) : zone if zone.eip != null])
    error_message = "Two zones have the same eip.allocation_id: an address belongs to one appliance, so give each zone its own, or leave eip out to have one made."
  }
}

# ---- the appliances -------------------------------------------------------------------------------

variable "instance_type" {
  description = "Type of the instances. AWS is asked for its architecture, arm64 or x86_64, and the image is chosen to fit."
  type        = string
  nullable    = false
  default     = "t4g.small"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type is a family and a size, such as t4g.small or c7g.large."
  }
}

variable "ami" {
  description = <<-EOT
    Image of the appliances, of the account `owner` (`self`: one's own): the image `id`; or the image that is called
    NAME-VERSION-ARCHITECTURE; or the one that a release `manifest`, a file, has for the region and the architecture, of
    the account that it names. `version` is exact, so that an image changes only where this text does; with `auto_update`
    it may be the beginning of one, such as `1` or `1.2`, and each plan takes the image published last.
  EOT
  type = object({
    id          = optional(string)
    owner       = optional(string, "self")
    name        = optional(string, "discriminat")
    version     = optional(string)
    manifest    = optional(string)
    auto_update = optional(bool, false)
  })
  nullable = false
  default  = { version = "0.1.0" }

  validation {
    condition     = length([for given in [var.ami.id, var.ami.version, var.ami.manifest] : given if given != null]) == 1
    error_message = "ami wants id, to pin one image, or version, to look one up, or manifest, to take a release's: give one of them."
  }

  validation {
    condition = var.ami.manifest == null || (
      try(jsondecode(file(var.ami.manifest)).schema, 0) == 1
      && can(regex("^[0-9]{12}$", jsondecode(file(var.ami.manifest)).account))
      && can(keys(jsondecode(file(var.ami.manifest)).images))
    )
    error_message = "ami.manifest is the path of a release manifest of schema 1, as publishing an image writes it, such as discriminat-1.2.3.manifest.json."
  }

  validation {
    condition     = var.ami.manifest == null || var.ami.owner == "self"
    error_message = "ami.manifest says itself whose images they are: leave ami.owner out."
  }

  validation {
    condition     = var.ami.id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami.id))
    error_message = "ami.id is the id of an image, such as ami-0a1b2c3d4e5f60718."
  }

  validation {
    condition     = can(regex("^([0-9]{12}|self|amazon|aws-marketplace)$", var.ami.owner))
    error_message = "ami.owner is the account that published the image: 12 digits, or self, amazon or aws-marketplace."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$", var.ami.name))
    error_message = "ami.name is what stands before the version in the image's name: letters, digits, _ and -, such as discriminat."
  }

  validation {
    condition     = var.ami.version == null || var.ami.auto_update || can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.ami.version))
    error_message = "ami.version is exact, such as 1.2.3; to have the newest of 1.2 at each plan, set ami.auto_update as well."
  }

  validation {
    condition     = var.ami.version == null || !var.ami.auto_update || can(regex("^[0-9]+(\\.[0-9]+){0,2}$", var.ami.version))
    error_message = "ami.version with ami.auto_update is the beginning of a version: 1, 1.2 or 1.2.3."
  }

  validation {
    condition     = var.ami.version != null || !var.ami.auto_update
    error_message = "ami.auto_update cannot update an image that ami.id or ami.manifest pins: leave one of them out."
  }
}

variable "root_volume" {
  description = "Disk of each appliance: gp3, always encrypted, with this key or the account's default one. Logs wait on it while CloudWatch is away."
  type = object({
    size_gib    = optional(number, 8)
    kms_key_arn = optional(string)
  })
  nullable = false
  default  = {}

  validation {
    condition     = var.root_volume.size_gib >= 4 && var.root_volume.size_gib <= 1024 && floor(var.root_volume.size_gib) == var.root_volume.size_gib
    error_message = "root_volume.size_gib is a whole number of GiB, 4 to 1024."
  }

  validation {
    condition     = var.root_volume.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.root_volume.kms_key_arn))
    error_message = "root_volume.kms_key_arn is the ARN of a key, such as arn:aws:kms:eu-west-2:111122223333:key/...; an alias will not do."
  }
}

# ---- what they filter by --------------------------------------------------------------------------

variable "preferences" {
  description = <<-EOT
    What holds for the whole deployment, beside the annotations of Security Groups; running appliances follow changes.
    `flow_log_verbosity`: `full`, `only_disallowed` or `none`. `see_thru`: let every client's refused flows pass, and log
    them, through the end of this day (UTC), as YYYY-MM-DD. `ech`: `deny` TLS whose name is encrypted, or `allow` it.
    `syn_gate`: `on` lets SYNs out to addresses of listed names alone, at the cost of looking at each; `off` looks at
    hellos only. `wildcard_exposure`: which patterns count: `none`, those without an asterisk (`prohibit_asterisk`), those
    too that have one and match no name that anybody could register, by the Public Suffix List
    (`prohibit_public_suffix`), or all (`nuclear`).
    `x509_crls`: `allow` lets every known client fetch revocation lists of public CAs, and ask their OCSP responders, over
    plaintext HTTP, port 80, where its Security Groups let that port out; `ignore` does not. `x509_crl_hosts`: hosts of a
    CA of one's own for it to cover as well, each with its path or without, such as `pki.example.com/CertEnroll`.
    `clients`: networks that count as the VPC's own, such as one that it was given after its appliances had started,
    which know the others from their launch. Only network interfaces of this VPC are ever allowed anything: what comes
    from elsewhere, as from a peered VPC, is refused even if it stands here, and logged as `client_unknown`.
    `private_destinations`: private networks that annotated rules may reach, such as a peered VPC's or those at home; what
    the VPC itself has of them stays closed. `grace`: seconds an address of a name is believed beyond its TTL (3600).
    `policy_poll_interval`, `preferences_interval`: seconds between two readings of AWS (10) and of this (60).
  EOT
  type = object({
    flow_log_verbosity = optional(string, "full")
    see_thru           = optional(string)
    ech                = optional(string, "deny")
    clients            = optional(list(string), [])
    syn_gate           = optional(string, "off")
    x509_crls          = optional(string, "ignore")
    x509_crl_hosts     = optional(list(string), [])

    private_destinations = optional(list(string), [])
    grace                = optional(number)
    policy_poll_interval = optional(number)
    preferences_interval = optional(number)
    wildcard_exposure    = optional(string, "prohibit_public_suffix")
  })
  nullable = false
  default  = {}

  validation {
    condition     = contains(["full", "only_disallowed", "none"], var.preferences.flow_log_verbosity)
    error_message = "preferences.flow_log_verbosity is full, only_disallowed or none."
  }

  validation {
    condition     = var.preferences.see_thru == null || (can(regex("^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$", var.preferences.see_thru)) && can(formatdate("YYYY", "${var.preferences.see_thru}T00:00:00Z")))
    error_message = "preferences.see_thru is a day that exists, as YYYY-MM-DD, or null."
  }

  validation {
    condition     = contains(["deny", "allow"], var.preferences.ech)
    error_message = "preferences.ech is deny or allow."
  }

  validation {
    condition     = contains(["off", "on"], var.preferences.syn_gate)
    error_message = "preferences.syn_gate is off or on."
  }

  validation {
    condition     = contains(["none", "prohibit_asterisk", "prohibit_public_suffix", "nuclear"], var.preferences.wildcard_exposure)
    error_message = "preferences.wildcard_exposure is none, prohibit_asterisk, prohibit_public_suffix or nuclear."
  }

  validation {
    condition     = contains(["ignore", "allow"], var.preferences.x509_crls)
    error_message = "preferences.x509_crls is ignore or allow."
  }

  validation {
    condition = length(var.preferences.x509_crl_hosts) <= 32 && alltrue([
      for each in var.preferences.x509_crl_hosts : can(regex(
        "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.])+[A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$",
        each
      ))
    ])
    error_message = "preferences.x509_crl_hosts are 32 names at most, in full, each with the path of its lists or without, such as pki.example.com/CertEnroll."
  }

  validation {
    condition     = alltrue([for network in var.preferences.clients : try(can(cidrnetmask(network)) && cidrsubnet(network, 0, 0) == network, false)])
    error_message = "preferences.clients are IPv4 networks by their first address and length, such as 10.9.0.0/16."
  }

  validation {
    condition     = alltrue([for network in var.preferences.clients : try(tonumber(split("/", network)[1]) >= 8, true)])
    error_message = "A network of preferences.clients is wider than /8: it would hold Internet addresses, which are destinations. Name the networks of the clients."
  }

  validation {
    condition     = alltrue([for network in var.preferences.private_destinations : try(can(cidrnetmask(network)) && cidrsubnet(network, 0, 0) == network, false)])
    error_message = "preferences.private_destinations are IPv4 networks by their first address and length, such as 10.50.0.0/16."
  }

  validation {
    condition = alltrue([
      for network in var.preferences.private_destinations : can(regex(
        "^(10[.].*/([89]|[12][0-9]|3[0-2])|100[.](6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])[.].*/([12][0-9]|3[0-2])|172[.](1[6-9]|2[0-9]|3[01])[.].*/(1[2-9]|2[0-9]|3[0-2])|192[.]168[.].*/(1[6-9]|2[0-9]|3[0-2]))$",
        network
      ))
    ])
    error_message = "preferences.private_destinations lie in 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12 or 192.168.0.0/16; link-local networks, where metadata services are, are never opened."
  }

  validation {
    condition     = var.preferences.grace == null || try(var.preferences.grace >= 0 && var.preferences.grace <= 604800, false)
    error_message = "preferences.grace is a number of seconds, 0 to 604800, or null."
  }

  validation {
    condition     = alltrue([for seconds in [var.preferences.policy_poll_interval, var.preferences.preferences_interval] : seconds == null || try(seconds >= 1 && seconds <= 600, false)])
    error_message = "preferences.policy_poll_interval and preferences.preferences_interval are numbers of seconds, 1 to 600, or null."
  }

  validation {
    condition     = length(jsonencode(var.preferences)) < 4000
    error_message = "preferences are longer than the 4 KB an SSM parameter holds: merge neighbouring networks of preferences.clients."
  }
}

variable "lists" {
  description = <<-EOT
    Lists of names that annotations refer to, which the appliances may read and no others. `parameters`: names of SSM
    parameters of this account and region; `/apps/acme/allow` is `@ssm/apps/acme/allow` in an annotation. `secrets`: names of
    secrets of this account and region; `apps/acme/allow` is `@secret/apps/acme/allow`. `elsewhere`: ARNs of parameters and
    secrets of other accounts and regions, by the name that annotations call them; `central` is `@list/central`. A change of
    it replaces the instances. `kms_keys`: ARNs of the customer managed keys that secrets are encrypted with, as those that
    other accounts share always are; they are used through Secrets Manager only.
  EOT
  type = object({
    parameters = optional(set(string), [])
    secrets    = optional(set(string), [])
    elsewhere  = optional(map(string), {})
    kms_keys   = optional(set(string), [])
  })
  nullable = false
  default  = {}

  # No character below means anything in the resources of a policy: `*`, `?` and `$` are refused with all others.

  validation {
    condition = alltrue([for name in var.lists.parameters : name == null ? false :
      can(regex("^(?:/[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+|[A-Za-z0-9_.-]+)$", name)) && length(split("/", trimprefix(name, "/"))) <= 15 && length(trimprefix(name, "/")) <= 1010
    ])
    error_message = "lists.parameters are names of SSM parameters, each in full and no pattern: /apps/acme/allow, or acme-allow without a slash in front where there is one level. Give an ARN in lists.elsewhere."
  }

  validation {
    condition     = !anytrue([for name in var.lists.parameters : can(regex("^/?[aA][wW][sS](?:/|$)", name))])
    error_message = "A name of lists.parameters is below /aws, where parameters of AWS itself are: name one of yours."
  }

  validation {
    condition     = alltrue([for name in var.lists.secrets : can(regex("^[A-Za-z0-9/_+=.@-]+$", name)) && length(coalesce(name, "-")) <= 512])
    error_message = "lists.secrets are names of secrets, each in full and no pattern, such as apps/acme/allow. Give an ARN in lists.elsewhere."
  }

  validation {
    condition     = alltrue([for alias in keys(var.lists.elsewhere) : can(regex("^[a-z0-9-]{1,64}$", alias))])
    error_message = "A key of lists.elsewhere is what annotations call the list, @list/central: 1 to 64 lower-case letters, digits and hyphens, such as central."
  }

  validation {
    condition = alltrue([for arn in values(var.lists.elsewhere) : can(regex(
      "^arn:aws[a-z-]*:(?:ssm:[a-z0-9-]+:[0-9]{12}:parameter(?:/[A-Za-z0-9_.-]+)+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+)$", arn
    )) && length(coalesce(arn, "-")) <= 2048])
    error_message = "lists.elsewhere holds ARNs of one SSM parameter or secret each, and no pattern: arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central or arn:aws:secretsmanager:eu-west-1:222222222222:secret:egress/central-AbCdEf."
  }

  validation {
    condition     = alltrue([for arn in values(var.lists.elsewhere) : can(regex(":secret:.+-[A-Za-z0-9]{6}$", arn)) if can(regex("^arn:[^:]*:secretsmanager:", arn)) && can(regex("^[^*?]*$", arn))])
    error_message = "An ARN of a secret in lists.elsewhere is not whole: it ends in a hyphen and six characters that AWS has chosen, such as egress/central-AbCdEf; `aws secretsmanager describe-secret` tells them."
  }

  validation {
    condition     = alltrue([for arn in var.lists.kms_keys : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "lists.kms_keys are ARNs of keys, such as arn:aws:kms:eu-west-2:111122223333:key/..., and no pattern; an alias will not do."
  }
}

# ---- who looks at them ----------------------------------------------------------------------------

variable "log" {
  description = "The log group: days that CloudWatch keeps it, and a KMS key whose policy lets the Logs service of this region use it."
  type = object({
    retention_days = optional(number, 365)
    kms_key_arn    = optional(string)
  })
  nullable = false
  default  = {}

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log.retention_days
    )
    error_message = "log.retention_days is one of those CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }

  validation {
    condition     = var.log.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.log.kms_key_arn))
    error_message = "log.kms_key_arn is the ARN of a key, such as arn:aws:kms:eu-west-2:111122223333:key/...; an alias will not do."
  }
}

variable "health_check_cidrs" {
  description = "Networks that ask the appliances for their health, TCP port 1042, where these are not those of the VPC."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for network in var.health_check_cidrs : try(can(cidrnetmask(network)) && cidrsubnet(network, 0, 0) == network, false)])
    error_message = "health_check_cidrs are IPv4 networks by their first address and length, such as 10.9.0.0/16."
  }

  validation {
    condition     = !contains(var.health_check_cidrs, "0.0.0.0/0")
    error_message = "health_check_cidrs holds the whole Internet: name the networks that probe."
  }
}

# ---- rights and labels ----------------------------------------------------------------------------

variable "permissions_boundary_arn" {
  description = "Policy that bounds the role of the appliances, where the account demands one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of a policy, such as arn:aws:iam::111122223333:policy/boundary."
  }
}

variable "session_manager" {
  description = "Let Session Manager open a shell on the appliances. There is no key pair and no SSH."
  type        = bool
  nullable    = false
  default     = false
}

variable "tags" {
  description = "Tags on everything, instances and volumes too. These are written in the launch template: a change replaces the instances."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : key != "Name" && !startswith(lower(key), "aws:")])
    error_message = "tags cannot hold Name, which this module sets, nor keys that begin with aws:, which AWS does not take."
  }
}

variable "alarms" {
  description = "What watches the appliances: CloudWatch alarms for each zone, and a dashboard. An alarm that rings or falls silent tells `sns_topic_arn`."
  type = object({
    enabled                = optional(bool, true)
    dashboard              = optional(bool, true)
    sns_topic_arn          = optional(string)
    not_ready_minutes      = optional(number, 5)  # that a zone may have no appliance: more than a replacement takes
    queue_drops_per_minute = optional(number, 0)  # that are none of your business: clients send these packets again
    policy_age_minutes     = optional(number, 10) # that AWS may be out of reach
    conntrack_percent      = optional(number, 80)
    cpu_percent            = optional(number, 90)
  })
  nullable = false
  default  = {}

  validation {
    condition     = var.alarms.sns_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarms.sns_topic_arn))
    error_message = "alarms.sns_topic_arn is the ARN of a standard SNS topic, such as arn:aws:sns:eu-west-2:111122223333:on-call."
  }

  validation {
    condition = alltrue([
      for minutes in [var.alarms.not_ready_minutes, var.alarms.policy_age_minutes] : minutes >= 1 && minutes <= 60 && floor(minutes) == minutes
    ])
    error_message = "alarms.not_ready_minutes and alarms.policy_age_minutes are whole numbers of minutes, 1 to 60."
  }

  validation {
    condition     = var.alarms.queue_drops_per_minute >= 0
    error_message = "alarms.queue_drops_per_minute is 0 or more."
  }

  validation {
    condition     = alltrue([for percent in [var.alarms.conntrack_percent, var.alarms.cpu_percent] : percent > 0 && percent <= 100])
    error_message = "alarms.conntrack_percent and alarms.cpu_percent are above 0 and at most 100."
  }
}
