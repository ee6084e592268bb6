# Few, each something to act on. What Millrace counts itself (queues, failures, the feed's lag) is in Prometheus.

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:alarms cannot be published with the account's key of SNS, and say nothing secret
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

data "aws_iam_policy_document" "alarms_topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }

  # Without a condition: EventBridge gives SNS nothing that one could ask for.
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms_topic.json
}

locals {
  # Each is looked at every five minutes. `missing` says what no figures mean.
  alarms = {
    api-errors = {
      description = "More than 20 answers of the api were 5xx in five minutes, twice in a row"
      namespace   = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
      comparison  = "GreaterThanThreshold", threshold = 20, periods = 2, missing = "notBreaching"
      dimensions  = { LoadBalancer = aws_lb.main.arn_suffix }
    }
    api-away = {
      description = "No task of the api is ready: clients are refused"
      namespace   = "AWS/ApplicationELB", metric = "HealthyHostCount", statistic = "Minimum"
      comparison  = "LessThanThreshold", threshold = 1, periods = 1, missing = "breaching"
      dimensions  = { LoadBalancer = aws_lb.main.arn_suffix, TargetGroup = aws_lb_target_group.api.arn_suffix }
    }
    # Running tasks report their CPU; where nothing reports, nothing runs.
    worker-away = {
      description = "No worker runs: nothing is loaded, settled or sent until one does"
      namespace   = "AWS/ECS", metric = "CPUUtilization", statistic = "SampleCount"
      comparison  = "LessThanThreshold", threshold = 1, periods = 1, missing = "breaching"
      dimensions  = { ClusterName = aws_ecs_cluster.main.name, ServiceName = aws_ecs_service.role["worker"].name }
    }
    scheduler-away = {
      description = "No scheduler runs: nothing fires until one does"
      namespace   = "AWS/ECS", metric = "CPUUtilization", statistic = "SampleCount"
      comparison  = "LessThanThreshold", threshold = 1, periods = 1, missing = "breaching"
      dimensions  = { ClusterName = aws_ecs_cluster.main.name, ServiceName = aws_ecs_service.role["scheduler"].name }
    }
    # By memory a worker is ended from without, and its runs begin anew elsewhere, to end likewise.
    worker-memory = {
      description = "Workers use more than 90 % of their memory: give them more, or fewer MILLRACE_INGEST_SLOTS"
      namespace   = "AWS/ECS", metric = "MemoryUtilization", statistic = "Maximum"
      comparison  = "GreaterThanThreshold", threshold = 90, periods = 3, missing = "notBreaching"
      dimensions  = { ClusterName = aws_ecs_cluster.main.name, ServiceName = aws_ecs_service.role["worker"].name }
    }
    # RDS adds disk when a tenth of it is left; this is half of that.
    database-disk = {
      description = "The database's disk is nearly full, although it grows by itself: has it reached its limit?"
      namespace   = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum"
      comparison  = "LessThanThreshold", threshold = floor(var.database_storage_gib * 1024 * 1024 * 1024 / 20), periods = 1, missing = "breaching"
      dimensions  = { DBInstanceIdentifier = aws_db_instance.main.identifier }
    }
    database-connections = {
      description = "More than 85 % of the database's connections are taken"
      namespace   = "AWS/RDS", metric = "DatabaseConnections", statistic = "Maximum"
      comparison  = "GreaterThanThreshold", threshold = floor(var.database_max_connections * 0.85), periods = 2, missing = "notBreaching"
      dimensions  = { DBInstanceIdentifier = aws_db_instance.main.identifier }
    }
    database-cpu = {
      description = "The database's CPU has been over 90 % for half an hour"
      namespace   = "AWS/RDS", metric = "CPUUtilization", statistic = "Average"
      comparison  = "GreaterThanThreshold", threshold = 90, periods = 6, missing = "notBreaching"
      dimensions  = { DBInstanceIdentifier = aws_db_instance.main.identifier }
    }
    # Full, it refuses doorbells, and runs start by polling.
    cache-memory = {
      description = "Redis uses more than 80 % of its memory"
      namespace   = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", statistic = "Maximum"
      comparison  = "GreaterThanThreshold", threshold = 80, periods = 2, missing = "notBreaching"
      dimensions  = { CacheClusterId = "${aws_elasticache_replication_group.main.id}-001" }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "main" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  dimensions          = each.value.dimensions
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_event_rule" "deployment_failed" {
  name        = "${var.name}-deployment-failed"
  description = "ECS has given up a deployment and goes back"

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Deployment State Change"]
    resources   = [for service in aws_ecs_service.role : service.id]
    detail      = { eventName = ["SERVICE_DEPLOYMENT_FAILED"] }
  })
}

resource "aws_cloudwatch_event_target" "deployment_failed" {
  rule = aws_cloudwatch_event_rule.deployment_failed.name
  arn  = aws_sns_topic.alarms.arn
}
