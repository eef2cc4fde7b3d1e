# What watches the appliances: alarms for each zone, a dashboard, saved queries.
#
# The appliance writes a line of metrics a minute into the log stream `metrics`, from which CloudWatch makes those of the
# namespace `discriminat`. A minute may hold no line or two, and lines come late when CloudWatch is slow: so every alarm
# but those on counted faults wants several minutes. What to do when one rings stands in ALARMS.md.

locals {
  # A zone without lines has no appliance that is known to work: only `not-ready` rings for that. To the others it is no
  # sign of anything, and they are quiet.
  alarms_of_a_zone = {
    not-ready = {
      namespace   = "discriminat"
      metric      = "Ready"
      statistic   = "Minimum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 60
      periods     = var.alarms.not_ready_minutes
      datapoints  = var.alarms.not_ready_minutes
      missing     = "breaching"
      description = "No appliance filters in this zone, so its private subnets have no way out: look at the activity of the Auto Scaling group first."
    }
    queue-drops = {
      namespace   = "discriminat"
      metric      = "QueueDrops"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarms.queue_drops_per_minute
      period      = 60
      periods     = 5
      datapoints  = 3
      missing     = "notBreaching"
      description = "First packets of connections are dropped because they come faster than they are inspected: find the client that opens so many, or take a larger instance type."
    }
    conntrack = {
      namespace   = "discriminat"
      metric      = "ConntrackUse"
      statistic   = "Maximum"
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = var.alarms.conntrack_percent
      period      = 60
      periods     = 5
      datapoints  = 3
      missing     = "notBreaching"
      description = "The table of open connections is nearly full, and when it is the kernel refuses every new one: find the client that holds so many, or take an instance type with more memory."
    }
    policy-stale = {
      namespace   = "discriminat"
      metric      = "PolicyAge"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = var.alarms.policy_age_minutes * 60
      period      = 60
      periods     = 3
      datapoints  = 2
      missing     = "notBreaching"
      description = "The appliance cannot read Security Groups from AWS and filters by an old policy: read aws_failure in /healthz, which names a permission that is missing."
    }
    log-loss = {
      namespace   = "discriminat"
      metric      = "LogLinesLost"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
      datapoints  = 1
      missing     = "notBreaching"
      description = "Log lines are lost while flows are filtered as usual: read logs in /healthz, which says whether the disk or CloudWatch refused them."
    }
    worker-restarts = {
      namespace   = "discriminat"
      metric      = "WorkerRestarts"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
      datapoints  = 1
      missing     = "notBreaching"
      description = "A worker process died and was started again, and connections it was inspecting were refused: read the errors in the config log, then the journal of the instance."
    }
    engine-errors = {
      namespace   = "discriminat"
      metric      = "EngineErrors"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 300
      periods     = 1
      datapoints  = 1
      missing     = "notBreaching"
      description = "The engine failed on packets and refused them, which is a fault of the program or an attack on it: look for the code internal_error in the flow log, and report it."
    }
    cpu = {
      namespace   = "AWS/EC2"
      metric      = "CPUUtilization"
      statistic   = "Average"
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = var.alarms.cpu_percent
      period      = 300
      periods     = 3
      datapoints  = 3
      missing     = "notBreaching"
      description = "The appliance has hardly any processor time left, and new connections begin to wait: find the client that opens so many, or take a larger instance type."
    }
  }

  zone_alarms = merge([
    for zone, group in local.names : {
      for name, alarm in local.alarms_of_a_zone : "${zone}/${name}" => merge(alarm, {
        name = "${group}-${name}"
        dimensions = alarm.namespace == "AWS/EC2" ? { AutoScalingGroupName = group } : {
          Deployment = var.name
          Zone       = zone
        }
      })
    }
  ]...)

  alarm_actions = var.alarms.sns_topic_arn == null ? [] : [var.alarms.sns_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "zone" {
  for_each = var.alarms.enabled ? local.zone_alarms : {}

  alarm_name          = each.value.name
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  treat_missing_data  = each.value.missing
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags

  # Made when the zones are ready and gone before they are, lest `not-ready` rings for what is no trouble.
  depends_on = [aws_autoscaling_group.this]
}

# ---- saved queries ------------------------------------------------------------------------------

locals {
  # In Logs Insights true is 1. What see-thru lets pass is logged as disallowed too: that is what the rules say.
  queries = {
    "refused flows by workload" = <<-EOT
      filter @logStream = "flow" and outcome = "disallowed" and (not ispresent(see_thru_exerted) or see_thru_exerted = 0)
      | stats count(*) as refused, latest(reason) as why, latest(time) as last_seen by src, dhost, proto, dpt, code
      | sort refused desc
      | limit 500
    EOT
    "allowlist from see-thru"   = <<-EOT
      filter @logStream = "flow" and see_thru_exerted = 1
      | stats count(*) as flows, count_distinct(src) as workloads, latest(time) as last_seen by see_thru_gid, dhost, proto, dpt
      | sort flows desc
      | limit 2000
    EOT
    "recent config changes"     = <<-EOT
      fields @timestamp, cat, outcome, client, gid, rule, fqdn, proto, reason, digest, instance
      | filter @logStream = "config" and cat != "error"
      | sort @timestamp desc
      | limit 500
    EOT
    "errors"                    = <<-EOT
      fields @timestamp, outcome, reason, client, gid, rule, instance
      | filter @logStream = "config" and cat = "error"
      | sort @timestamp desc
      | limit 500
    EOT
  }
}

resource "aws_cloudwatch_query_definition" "saved" {
  for_each = local.queries

  name            = "${var.name}/${each.key}"
  log_group_names = [aws_cloudwatch_log_group.this.name]
  query_string    = trimspace(each.value)
}

# ---- dashboard ----------------------------------------------------------------------------------

locals {
  # Each is a graph with a line for every zone and metric; `limit` is where the alarm rings.
  graphs = [
    { title = "Filters as policy says: 1, or 0", statistic = "Minimum", metrics = ["Ready"], limit = null },
    { title = "Seconds since AWS was read", statistic = "Maximum", metrics = ["PolicyAge"], limit = var.alarms.policy_age_minutes * 60 },
    { title = "Clients and names in the policy", statistic = "Maximum", metrics = ["Clients", "Names"], limit = null },
    { title = "Flows allowed and refused, a minute", statistic = "Sum", metrics = ["FlowEvents"], limit = null },
    { title = "Packets inspected, a minute", statistic = "Sum", metrics = ["PacketsInspected"], limit = null },
    { title = "Packets that wait for a verdict", statistic = "Maximum", metrics = ["PacketsHeld"], limit = null },
    { title = "Table of open connections, percent full", statistic = "Maximum", metrics = ["ConntrackUse"], limit = var.alarms.conntrack_percent },
    { title = "Packets dropped from a full queue, a minute", statistic = "Sum", metrics = ["QueueDrops"], limit = var.alarms.queue_drops_per_minute },
    { title = "Faults, a minute", statistic = "Sum", metrics = ["LogLinesLost", "WorkerRestarts", "EngineErrors"], limit = null },
    { title = "Processor, percent", statistic = "Average", metrics = ["CPUUtilization"], limit = var.alarms.cpu_percent },
    { title = "Octets sent, a minute", statistic = "Sum", metrics = ["NetworkOut"], limit = null },
    { title = "Processor credits of a burstable instance", statistic = "Minimum", metrics = ["CPUCreditBalance"], limit = null },
  ]

  metrics_of_ec2 = ["CPUUtilization", "NetworkOut", "CPUCreditBalance"]

  graph_widgets = [
    for number, graph in local.graphs : {
      type   = "metric"
      x      = number % 3 * 8
      y      = 2 + floor(number / 3) * 6
      width  = 8
      height = 6
      properties = {
        title  = graph.title
        region = data.aws_region.current.name
        view   = "timeSeries"
        stat   = graph.statistic
        period = 60
        yAxis  = { left = { min = 0 } }
        metrics = concat([
          for metric in graph.metrics : [
            for zone, group in local.names : concat(
              contains(local.metrics_of_ec2, metric)
              ? ["AWS/EC2", metric, "AutoScalingGroupName", group]
              : ["discriminat", metric, "Deployment", var.name, "Zone", zone],
              [{ label = length(graph.metrics) == 1 ? zone : "${metric} ${zone}" }]
            )
          ]
        ]...)
        annotations = { horizontal = [for limit in graph.limit[*] : { label = "alarm", value = limit }] }
      }
    }
  ]

  table_widgets = [
    for number, name in ["refused flows by workload", "errors"] : {
      type   = "log"
      x      = 0
      y      = 2 + ceil(length(local.graphs) / 3) * 6 + number * 8
      width  = 24
      height = 8
      properties = {
        title  = title(name)
        region = data.aws_region.current.name
        view   = "table"
        query  = "SOURCE '${aws_cloudwatch_log_group.this.name}' | ${trimspace(local.queries[name])}"
      }
    }
  ]

  alarm_widgets = [
    for arns in [[for alarm in aws_cloudwatch_metric_alarm.zone : alarm.arn]] : {
      type       = "alarm"
      x          = 0
      y          = 0
      width      = 24
      height     = 2
      properties = { title = "Alarms", alarms = arns }
    } if var.alarms.enabled
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.alarms.dashboard ? 1 : 0

  dashboard_name = "${var.name}-${data.aws_region.current.name}" # dashboards of all regions share their names
  dashboard_body = jsonencode({ widgets = concat(local.alarm_widgets, local.graph_widgets, local.table_widgets) })
}
