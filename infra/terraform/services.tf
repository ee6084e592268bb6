# The roles as ECS services on Fargate, all of one image. A deployment is: a new image, its task definitions, the
# migration (here, before any service changes), then each service replaced task by task. New tasks run before old ones
# are told to stop; if they do not come up, ECS goes back by itself and the apply fails.

locals {
  api_port     = 8000
  metrics_port = 9464
  files_prefix = "files"

  database_secrets = { DATABASE_URL = aws_secretsmanager_secret.database_url.arn }

  # What differs between the roles. `scratch` is GiB of temporary disk; a role without it has a root file system that
  # cannot be written. Fargate's smallest disk, 20 GiB, is what comes with a task. `patience` is how many seconds a task
  # may take until `health` first says 200.
  roles = {
    api = {
      cpu          = var.api.cpu
      memory       = var.api.memory
      scratch      = var.scratch_gib
      stop_seconds = 30 # The api gives its connections ten seconds at most.
      ports        = [local.api_port, local.metrics_port]
      health       = "http://127.0.0.1:${local.api_port}/livez"
      patience     = 30
      secrets      = merge(local.database_secrets, var.notification_secret_arns)
      environment = {
        MILLRACE_LISTEN         = "0.0.0.0:${local.api_port}"
        MILLRACE_SECURE_COOKIES = "true"
        # The load balancer's addresses are in the public subnets; it appends who came.
        MILLRACE_TRUSTED_PROXIES = join(",", [for subnet in aws_subnet.public : subnet.cidr_block])
      }
    }
    worker = {
      cpu     = var.worker.cpu
      memory  = var.worker.memory
      scratch = var.scratch_gib
      # The worker's patience is the grace and 5 s, its metrics' and its threads' another 7.
      stop_seconds = var.shutdown_grace_seconds + 20
      ports        = [local.metrics_port]
      health       = "http://127.0.0.1:${local.metrics_port}/readyz"
      patience     = 120
      secrets      = merge(local.database_secrets, var.notification_secret_arns)
      environment  = { MILLRACE_SHUTDOWN_GRACE_MS = tostring(var.shutdown_grace_seconds * 1000) }
    }
    scheduler = {
      cpu          = var.scheduler.cpu
      memory       = var.scheduler.memory
      scratch      = null
      stop_seconds = 30
      ports        = [local.metrics_port]
      health       = "http://127.0.0.1:${local.metrics_port}/readyz"
      patience     = 120
      secrets      = local.database_secrets
      environment  = {}
    }
    migrate = {
      cpu          = 512
      memory       = 1024
      scratch      = null
      stop_seconds = 120 # A migration that is cut off is rolled back, and begins anew.
      ports        = []
      health       = null
      patience     = null
      secrets      = merge(local.database_secrets, { MILLRACE_ADMIN_PASSWORD = aws_secretsmanager_secret.admin_password.arn })
      environment  = { MILLRACE_ADMIN_USERNAME = var.admin_username }
    }
  }

  environment = merge(var.settings, {
    REDIS_URL = "rediss://${aws_elasticache_replication_group.main.primary_endpoint_address}:6379"
    # RDS has authorities of its own, which no system knows.
    MILLRACE_CA             = file(var.database_ca_file)
    AWS_REGION              = var.region
    MILLRACE_STORAGE        = "s3://${aws_s3_bucket.files.id}/${local.files_prefix}"
    MILLRACE_PUBLIC_URL     = "https://${var.host}"
    MILLRACE_METRICS_LISTEN = "0.0.0.0:${local.metrics_port}"
    MILLRACE_ZONE           = var.reporting_zone
    MILLRACE_CURRENCY       = var.currency
    MILLRACE_LOG_FORMAT     = "json"
  })

  # What runs for ever.
  services = {
    api       = { count = var.api.count, groups = [aws_security_group.tasks.id, aws_security_group.api.id] }
    worker    = { count = var.worker.count, groups = [aws_security_group.tasks.id, aws_security_group.worker.id] }
    scheduler = { count = var.scheduler.count, groups = [aws_security_group.tasks.id] }
  }
}

resource "aws_ecs_cluster" "main" {
  # checkov:skip=CKV_AWS_65:Container Insights charges for what Prometheus reads at /metrics
  name = var.name
}

resource "aws_cloudwatch_log_group" "role" {
  # checkov:skip=CKV_AWS_158:encrypted by CloudWatch with its own key; see "One key" in the README
  # checkov:skip=CKV_AWS_338:how long logs are kept is log_days; a year is a choice, not a need
  for_each = local.roles

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
}

resource "aws_ecs_task_definition" "role" {
  # checkov:skip=CKV_AWS_336:api and worker write temporary files; scheduler and migrate are read-only
  for_each = local.roles

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  dynamic "ephemeral_storage" {
    for_each = each.value.scratch == null ? [] : [each.value.scratch]

    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = var.image
    command                = [each.key]
    essential              = true
    readonlyRootFilesystem = each.value.scratch == null
    stopTimeout            = each.value.stop_seconds
    portMappings           = [for port in each.value.ports : { containerPort = port, hostPort = port, protocol = "tcp" }]

    environment = [
      for name, value in merge(local.environment, each.value.environment) : { name = name, value = value }
    ]
    # Read once, when a task starts. The label makes a changed password a new definition, hence new tasks.
    secrets      = [for name, arn in each.value.secrets : { name = name, valueFrom = arn }]
    dockerLabels = { "database-password-version" = tostring(var.database_password_version) }

    # Whether the api is ready the load balancer asks; here only whether it answers. Worker and scheduler are ready once
    # they have found PostgreSQL with every migration that they know, and have begun; from then on they stay so, and an
    # outage ends none of them. One that starts during a failover is given the time of it.
    healthCheck = each.value.health == null ? null : {
      command     = ["CMD", "millrace", "ready", each.value.health]
      interval    = 10
      timeout     = 5
      retries     = 6
      startPeriod = each.value.patience
    }

    # A listener is a file.
    ulimits         = [{ name = "nofile", softLimit = 65535, hardLimit = 65535 }]
    linuxParameters = { initProcessEnabled = true }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.role[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])

  depends_on = [
    aws_iam_role_policy.execution,
    aws_secretsmanager_secret_version.admin_password,
    aws_secretsmanager_secret_version.database_url,
  ]
}

locals {
  # What run-task.sh needs.
  task_environment = {
    AWS_REGION      = var.region
    CLUSTER         = aws_ecs_cluster.main.name
    TASK_DEFINITION = aws_ecs_task_definition.role["migrate"].arn
    SUBNETS         = join(",", [for subnet in aws_subnet.private : subnet.id])
    SECURITY_GROUPS = aws_security_group.tasks.id
    LOG_GROUP       = aws_cloudwatch_log_group.role["migrate"].name
  }
}

# Runs `millrace migrate` whenever its definition has changed, and waits. If it fails, the apply ends here, with the
# services as they were, and the next apply runs it again. If the apply dies while it runs, the task goes on; another
# one waits for its lock and finds nothing to do.
resource "terraform_data" "migrate" {
  triggers_replace = [aws_ecs_task_definition.role["migrate"].arn]

  provisioner "local-exec" {
    command     = "sh ${path.module}/run-task.sh migrate"
    environment = local.task_environment
  }

  depends_on = [
    aws_route.private,
    aws_route_table_association.private,
    aws_vpc_security_group_egress_rule.tasks_to_database,
    aws_vpc_security_group_egress_rule.tasks_to_https,
    aws_vpc_security_group_ingress_rule.database_from_tasks,
  ]
}

resource "aws_ecs_service" "role" {
  for_each = local.services

  name             = each.key
  cluster          = aws_ecs_cluster.main.id
  task_definition  = aws_ecs_task_definition.role[each.key].arn
  desired_count    = var.stopped ? 0 : each.value.count
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  propagate_tags   = "SERVICE"

  # New ones first, old ones after. A worker that is stopped gives its runs their grace and puts the rest back.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = [for subnet in aws_subnet.private : subnet.id]
    security_groups  = each.value.groups
    assign_public_ip = false
  }

  service_registries {
    registry_arn = aws_service_discovery_service.role[each.key].arn
  }

  dynamic "load_balancer" {
    for_each = each.key == "api" ? [aws_lb_target_group.api.arn] : []

    content {
      target_group_arn = load_balancer.value
      container_name   = each.key
      container_port   = local.api_port
    }
  }

  health_check_grace_period_seconds = each.key == "api" ? 60 : null

  wait_for_steady_state = true

  timeouts {
    create = "30m"
    update = "30m"
    delete = "30m"
  }

  lifecycle {
    # A service that ECS has set back is steady, too.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.role[each.key].arn
      error_message = "The new ${each.key} did not come up; ECS has gone back to the old one. Its log says why."
    }
  }

  depends_on = [
    terraform_data.migrate,
    aws_lb_listener.https,
    aws_iam_role_policy.files,
    aws_s3_bucket_policy.files,
    aws_vpc_security_group_egress_rule.load_balancer_to_api,
    aws_vpc_security_group_ingress_rule.api_from_load_balancer,
    aws_vpc_security_group_egress_rule.tasks_to_cache,
    aws_vpc_security_group_ingress_rule.cache_from_tasks,
  ]
}

# Names by which Prometheus finds every task: api.millrace.internal has an address for each.
resource "aws_service_discovery_private_dns_namespace" "main" {
  name        = "${var.name}.internal"
  description = "Tasks of Millrace"
  vpc         = aws_vpc.main.id
}

resource "aws_service_discovery_service" "role" {
  for_each = local.services

  name = each.key

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.main.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS needs the block, and the provider drops it when it is empty; so it warns that the argument is deprecated.
  health_check_custom_config {
    failure_threshold = 1
  }
}
