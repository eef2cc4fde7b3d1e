# What watches the appliances, with a mocked AWS. tests/terraform/test_observability.py reads what these runs made, too.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_subnet.public["eu-west-2a"]
  values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2a" }
}

override_data {
  target = data.aws_subnet.public["eu-west-2b"]
  values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2b" }
}

variables {
  name   = "egress"
  vpc_id = "vpc-0a1b2c3d4e5f60718"
  zones = {
    eu-west-2a = { public_subnet_id = "subnet-0a1b2c3d4e5f6000a", private_route_table_ids = ["rtb-0a1b2c3d4e5f6000a"] }
    eu-west-2b = { public_subnet_id = "subnet-0a1b2c3d4e5f6000b", private_route_table_ids = ["rtb-0a1b2c3d4e5f6000b"] }
  }
}

run "as_it_comes" {
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.zone) == 2 * length(local.alarms_of_a_zone)
    error_message = "Every zone has every alarm without being asked for."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.zone : length(alarm.alarm_actions) == 0 && length(alarm.ok_actions) == 0])
    error_message = "Without a topic nobody is told."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2b/not-ready"].alarm_name == "egress-eu-west-2b-not-ready"
    error_message = "An alarm's name says which deployment, which zone, and what."
  }

  assert {
    condition = aws_cloudwatch_metric_alarm.zone["eu-west-2b/not-ready"].dimensions == tomap({
      Deployment = "egress", Zone = "eu-west-2b"
    })
    error_message = "An alarm watches its own zone."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2a/cpu"].dimensions == tomap({ AutoScalingGroupName = "egress-eu-west-2a" })
    error_message = "AWS's own metrics are those of the zone's Auto Scaling group."
  }

  assert {
    condition     = [for name, alarm in aws_cloudwatch_metric_alarm.zone : name if alarm.treat_missing_data == "breaching"] == ["eu-west-2a/not-ready", "eu-west-2b/not-ready"]
    error_message = "Silence of an appliance rings one alarm, not all of them."
  }

  assert {
    condition     = output.alarm_arns == { for name, alarm in aws_cloudwatch_metric_alarm.zone : name => alarm.arn }
    error_message = "alarm_arns are those of the alarms."
  }

  assert {
    condition     = alltrue([for query in aws_cloudwatch_query_definition.saved : query.log_group_names == tolist([aws_cloudwatch_log_group.this.name])])
    error_message = "Saved queries ask the deployment's log group."
  }

  assert {
    condition     = aws_cloudwatch_dashboard.this[0].dashboard_name == "egress-eu-west-2"
    error_message = "The dashboard's name holds the region: two deployments of one name in two regions would share it otherwise."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this[0].dashboard_body, aws_cloudwatch_metric_alarm.zone["eu-west-2a/not-ready"].arn)
    error_message = "The dashboard shows the alarms."
  }
}

run "tuned" {
  variables {
    alarms = {
      sns_topic_arn          = "arn:aws:sns:eu-west-2:111122223333:on-call"
      not_ready_minutes      = 7
      queue_drops_per_minute = 11
      policy_age_minutes     = 3
      conntrack_percent      = 65
      cpu_percent            = 70
    }
  }

  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.zone :
      alarm.alarm_actions == toset(["arn:aws:sns:eu-west-2:111122223333:on-call"]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "Every alarm tells the topic when it rings and when it falls silent."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.zone["eu-west-2a/not-ready"].evaluation_periods == 7 &&
      aws_cloudwatch_metric_alarm.zone["eu-west-2a/not-ready"].datapoints_to_alarm == 7
    )
    error_message = "not_ready_minutes is how long a zone may have no appliance."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2a/queue-drops"].threshold == 11
    error_message = "queue_drops_per_minute is the threshold of queue-drops."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2b/policy-stale"].threshold == 180
    error_message = "policy_age_minutes is the threshold of policy-stale, whose metric is in seconds."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2b/conntrack"].threshold == 65
    error_message = "conntrack_percent is the threshold of conntrack."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.zone["eu-west-2b/cpu"].threshold == 70
    error_message = "cpu_percent is the threshold of cpu."
  }
}

run "no_alarms" {
  variables {
    alarms = { enabled = false }
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.zone) == 0
    error_message = "alarms.enabled = false takes every alarm away."
  }

  assert {
    condition     = length(output.alarm_arns) == 0
    error_message = "Without alarms alarm_arns is empty, and no error."
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 1 && length(aws_cloudwatch_query_definition.saved) > 0
    error_message = "alarms.enabled = false takes nothing else away."
  }
}

run "no_dashboard" {
  variables {
    alarms = { dashboard = false }
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 0 && length(aws_cloudwatch_metric_alarm.zone) > 0
    error_message = "alarms.dashboard = false takes the dashboard away and no alarm."
  }
}

run "refuses_a_topic_that_is_none" {
  command = plan
  variables {
    alarms = { sns_topic_arn = "on-call@example.com" }
  }
  expect_failures = [var.alarms]
}

run "refuses_minutes_out_of_range" {
  command = plan
  variables {
    alarms = { policy_age_minutes = 0 }
  }
  expect_failures = [var.alarms]
}

run "refuses_a_fraction_of_a_minute" {
  command = plan
  variables {
    alarms = { not_ready_minutes = 2.5 }
  }
  expect_failures = [var.alarms]
}

run "refuses_less_than_no_drops" {
  command = plan
  variables {
    alarms = { queue_drops_per_minute = -1 }
  }
  expect_failures = [var.alarms]
}

run "refuses_more_than_all" {
  command = plan
  variables {
    alarms = { conntrack_percent = 101 }
  }
  expect_failures = [var.alarms]
}

run "refuses_a_processor_that_is_always_busy" {
  command = plan
  variables {
    alarms = { cpu_percent = 0 }
  }
  expect_failures = [var.alarms]
}
