# Redis: doorbells and caches. Nothing in it counts: with it gone, runs start by polling, within a second. So there
# are no snapshots, and memory that is full refuses writes instead of dropping keys under somebody's feet.

resource "aws_elasticache_subnet_group" "main" {
  name        = var.name
  description = "Subnets without a way out"
  subnet_ids  = [for subnet in aws_subnet.data : subnet.id]
}

resource "aws_elasticache_parameter_group" "main" {
  name        = "${var.name}-redis7"
  description = "What Millrace needs of Redis"
  family      = "redis7"

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "main" {
  # checkov:skip=CKV_AWS_31:a token would be in the state; security groups say who may come, see "Redis" in the README
  # checkov:skip=CKV_AWS_191:encrypted with the account's key of ElastiCache; see "One key" in the README
  # checkov:skip=CKV2_AWS_50:with one node there is nothing to fail over to, and nothing is lost; see cache_nodes
  replication_group_id = var.name
  description          = "Doorbells and caches"
  engine               = "redis"
  engine_version       = "7.1"
  node_type            = var.cache_node_type
  num_cache_clusters   = var.cache_nodes
  port                 = 6379

  automatic_failover_enabled = var.cache_nodes > 1
  multi_az_enabled           = var.cache_nodes > 1

  subnet_group_name    = aws_elasticache_subnet_group.main.name
  security_group_ids   = [aws_security_group.cache.id]
  parameter_group_name = aws_elasticache_parameter_group.main.name

  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  snapshot_retention_limit   = 0
  auto_minor_version_upgrade = true
  maintenance_window         = "sun:03:30-sun:04:30"
}
