# Who may speak to whom. Groups name each other; addresses stand only where the other side is the internet.

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-load-balancer"
  description = "Clients to the load balancer"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-load-balancer" }
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "Every role of Millrace"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-tasks" }
}

resource "aws_security_group" "api" {
  name        = "${var.name}-api"
  description = "The role api, besides tasks"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-api" }
}

resource "aws_security_group" "worker" {
  name        = "${var.name}-worker"
  description = "The role worker, besides tasks"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-worker" }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL, for tasks"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-database" }
}

resource "aws_security_group" "cache" {
  name        = "${var.name}-cache"
  description = "Redis, for tasks"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-cache" }
}

# For the host that runs Prometheus, which is not made here: whoever has this group may scrape.
resource "aws_security_group" "monitoring" {
  # checkov:skip=CKV2_AWS_5:it is for a host that is not made here
  name        = "${var.name}-monitoring"
  description = "May read the metrics of every task"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-monitoring" }
}

# ---- Load balancer ----------------------------------------------------------------------------------------------

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = toset(var.client_cidrs)

  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS from clients"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  # checkov:skip=CKV_AWS_260:only the redirect to HTTPS answers there
  for_each = toset(var.client_cidrs)

  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTP from clients, answered with a redirect to HTTPS"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "load_balancer_to_api" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Requests and health checks to the api"
  referenced_security_group_id = aws_security_group.api.id
  ip_protocol                  = "tcp"
  from_port                    = local.api_port
  to_port                      = local.api_port
}

resource "aws_vpc_security_group_ingress_rule" "api_from_load_balancer" {
  security_group_id            = aws_security_group.api.id
  description                  = "Requests and health checks from the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.api_port
  to_port                      = local.api_port
}

# ---- Tasks ------------------------------------------------------------------------------------------------------

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Metrics, without a login"
  referenced_security_group_id = aws_security_group.monitoring.id
  ip_protocol                  = "tcp"
  from_port                    = local.metrics_port
  to_port                      = local.metrics_port
}

resource "aws_vpc_security_group_egress_rule" "metrics" {
  security_group_id            = aws_security_group.monitoring.id
  description                  = "Metrics of every task"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = local.metrics_port
  to_port                      = local.metrics_port
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_database" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "PostgreSQL"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_cache" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Redis"
  referenced_security_group_id = aws_security_group.cache.id
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}

# The registry, Secrets Manager, CloudWatch and S3; and providers of messages and webhooks, whose addresses nobody
# knows beforehand. Millrace itself refuses webhooks to private addresses (docs/notifications.md).
resource "aws_vpc_security_group_egress_rule" "tasks_to_https" {
  security_group_id = aws_security_group.tasks.id
  description       = "HTTPS to AWS, providers of messages and webhooks"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "worker_to_mail" {
  for_each = toset([for port in var.message_ports : tostring(port)])

  security_group_id = aws_security_group.worker.id
  description       = "Providers of messages, port ${each.value}"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
}

# ---- Data -------------------------------------------------------------------------------------------------------

resource "aws_vpc_security_group_ingress_rule" "database_from_tasks" {
  security_group_id            = aws_security_group.database.id
  description                  = "PostgreSQL from tasks"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "cache_from_tasks" {
  security_group_id            = aws_security_group.cache.id
  description                  = "Redis from tasks"
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}
