output "network_interface_ids" {
  description = "Network interface of the appliance, by zone: the target of further routes."
  value       = { for zone, interface in aws_network_interface.this : zone => interface.id }
}

output "public_ips" {
  description = "Public address of the appliance, by zone: what servers outside see, and may list."
  value       = { for zone in keys(var.zones) : zone => try(aws_eip.this[zone].public_ip, data.aws_eip.given[zone].public_ip) }
}

output "autoscaling_group_names" {
  description = "Auto Scaling group of the appliance, by zone."
  value       = { for zone, group in aws_autoscaling_group.this : zone => group.name }
}

output "role_arn" {
  description = "Role of the appliances."
  value       = aws_iam_role.this.arn
}

output "security_group_id" {
  description = "Security Group of the appliances."
  value       = aws_security_group.this.id
}

output "log_group_name" {
  description = "Log group that the appliances write into."
  value       = aws_cloudwatch_log_group.this.name
}

output "log_group_arn" {
  description = "ARN of the log group, without `:*`."
  value       = aws_cloudwatch_log_group.this.arn
}

output "preferences_parameter_name" {
  description = "SSM parameter that holds the preferences."
  value       = aws_ssm_parameter.preferences.name
}

output "alarm_arns" {
  description = "ARNs of the alarms, by zone and alarm, such as `eu-west-2a/not-ready`."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.zone : name => alarm.arn }
}
