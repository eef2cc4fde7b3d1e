output "descriptions" {
  description = "Descriptions of the rules, by the rule as the appliance's logs name it: `tcp/443 0.0.0.0/0`."
  value       = tomap({ for key, rule in aws_vpc_security_group_egress_rule.this : key => rule.description })

  # Here and not in a validation, for these hang on all variables together; and not in the resource, which would say it
  # once for each rule.
  precondition {
    condition = alltrue([for port, bins in local.filled : length(bins) <= length(local.masks)])
    error_message = join(" ", [for port, bins in local.filled :
      "Port ${port}: its ${length([for name in local.names : name if name.port == port])} names need ${length(bins)} rules, and AWS takes ${length(local.masks)}, which hold ${sum([for bin in keys(local.masked[port]) : length(local.bins[bin])])} of them: move the others to a second Security Group; an interface can wear five."
      if length(bins) > length(local.masks)
    ])
  }
  precondition {
    condition     = length(local.rules) <= var.rule_quota
    error_message = "These names need ${length(local.rules)} rules, and rule_quota is ${var.rule_quota}: move some to a second Security Group, or have AWS raise the quota and say so in rule_quota."
  }
}

output "rule_ids" {
  description = "Ids of the rules (`sgr-...`), by the rule as the appliance's logs name it."
  value       = tomap({ for key, rule in aws_vpc_security_group_egress_rule.this : key => rule.security_group_rule_id })
}
