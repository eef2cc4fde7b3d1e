# `tls` and `ssh` are two variables and not one object: Terraform drops an attribute that an object type does not
# know, so that `tsl = {...}` would grant nothing and say nothing. An argument that a module does not know is an error.
# Their validations are the same, for a validation may look at its own variable only; names.tf has what they share.

variable "security_group_id" {
  description = "Security Group that gets the egress rules. It must not have `egress` blocks of its own: Terraform would take turns removing one and the other."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^sg-[0-9a-z]+$", var.security_group_id))
    error_message = "security_group_id: ${format("%q", var.security_group_id)} is not the id of a Security Group: give one such as sg-0a1b2c3d4e5f60718."
  }
}

variable "tls" {
  description = "Names that may be reached with TLS, by TCP port: `{ 443 = [\"api.example.com\"] }`. A list that is kept elsewhere may stand among them, as `@ssm/apps/acme/allow`. Order, case and repetitions mean nothing, but for the case of what AWS calls a list."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for port in keys(var.tls) : can(regex(local.port, port))])
    error_message = "tls: ${join(", ", [for port in keys(var.tls) : format("%q", port) if !can(regex(local.port, port))])} is no port: write a whole number from 1 to 65535, without leading zeros."
  }
  validation {
    condition     = alltrue([for names in values(var.tls) : try(length(names) > 0, false)])
    error_message = "tls: port ${join(", ", [for port, names in var.tls : port if !try(length(names) > 0, false)])} has no names: list at least one, or leave the port out."
  }
  validation {
    condition = 0 == length(compact([for name in flatten(values(var.tls)) : try([
      for fault in local.tls_faults : fault.advice if can(regex(fault.pattern, name == null ? "" : name))
      ][0], [
      for fault in local.name_faults : fault.advice if can(regex(fault.pattern, name == null ? "" : replace(replace(name, local.reference, local.referenced), local.wildcard, "x")))
    ][0], "")]))
    error_message = "tls: ${join("; ", compact([for name in flatten(values(var.tls)) : try([
      for fault in local.tls_faults : format("%q %s", name == null ? "" : name, fault.advice) if can(regex(fault.pattern, name == null ? "" : name))
      ][0], [
      for fault in local.name_faults : format("%q %s", name == null ? "" : name, fault.advice) if can(regex(fault.pattern, name == null ? "" : replace(replace(name, local.reference, local.referenced), local.wildcard, "x")))
    ][0], "")]))}."
  }
}

variable "ssh" {
  description = "Names that may be reached with SSH (SFTP and Git over SSH too), by TCP port: `{ 22 = [\"git.example.com\"] }`. A port may stand in `tls` as well."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for port in keys(var.ssh) : can(regex(local.port, port))])
    error_message = "ssh: ${join(", ", [for port in keys(var.ssh) : format("%q", port) if !can(regex(local.port, port))])} is no port: write a whole number from 1 to 65535, without leading zeros."
  }
  validation {
    condition     = alltrue([for names in values(var.ssh) : try(length(names) > 0, false)])
    error_message = "ssh: port ${join(", ", [for port, names in var.ssh : port if !try(length(names) > 0, false)])} has no names: list at least one, or leave the port out."
  }
  validation {
    condition = 0 == length(compact([for name in flatten(values(var.ssh)) : try([
      for fault in local.reference_faults : fault.advice if can(regex(fault.pattern, name == null ? "" : name))
      ][0], [
      for fault in local.name_faults : fault.advice if can(regex(fault.pattern, name == null ? "" : replace(name, local.reference, local.referenced)))
    ][0], "")]))
    error_message = "ssh: ${join("; ", compact([for name in flatten(values(var.ssh)) : try([
      for fault in local.reference_faults : format("%q %s", name == null ? "" : name, fault.advice) if can(regex(fault.pattern, name == null ? "" : name))
      ][0], [
      for fault in local.name_faults : format("%q %s", name == null ? "" : name, fault.advice) if can(regex(fault.pattern, name == null ? "" : replace(name, local.reference, local.referenced)))
    ][0], "")]))}."
  }
}

variable "see_thru" {
  description = "Last day (UTC) on which everything passes and is logged, as `YYYY-MM-DD`; null for never. It adds a rule for all traffic to anywhere, which AWS enforces literally: inside the VPC, too."
  type        = string
  default     = null

  validation {
    condition     = var.see_thru == null || can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.see_thru))
    error_message = "see_thru: ${format("%q", var.see_thru == null ? "" : var.see_thru)} is not a date as YYYY-MM-DD: write the last day in full, such as 2027-01-31."
  }
  validation {
    condition = var.see_thru == null || !can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.see_thru)) || (
      !startswith(coalesce(var.see_thru, "-"), "0000") && can(timeadd("${coalesce(var.see_thru, "-")}T00:00:00Z", "0s"))
    )
    error_message = "see_thru: ${format("%q", var.see_thru == null ? "" : var.see_thru)} is not in the calendar: write a day that there is, as year, month and day."
  }
}

variable "rule_quota" {
  description = "Egress rules that one Security Group may have: 60, unless AWS has raised the quota \"Inbound or outbound rules per security group\". Lower it by the number of rules the group has from elsewhere."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.rule_quota >= 1 && var.rule_quota <= 1000 && floor(var.rule_quota) == var.rule_quota
    error_message = "rule_quota: ${var.rule_quota} is not a quota that AWS grants: give a whole number from 1 to 1000."
  }
}

variable "tags" {
  description = "Tags of the rules."
  type        = map(string)
  default     = {}
  nullable    = false
}
