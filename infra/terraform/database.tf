# PostgreSQL 15: the record. Everything else here can be made anew.

resource "aws_db_subnet_group" "main" {
  name        = var.name
  description = "Subnets without a way out"
  subnet_ids  = [for subnet in aws_subnet.data : subnet.id]
}

locals {
  # Static parameters hold from the next start of the server on; a new instance begins with them.
  database_parameters = {
    # A query over all months touches every month's partition and index: with the usual 64 it fails.
    max_locks_per_transaction = { value = "1024", static = true }
    # Each connection's share of the lock table above is reserved at the start.
    max_connections = { value = tostring(var.database_max_connections), static = true }
    # Loading writes much in a short time, and after each checkpoint every page that is touched goes to the log
    # whole. In MiB and seconds; replay after a crash takes longer the larger they are.
    max_wal_size       = { value = "8192", static = false }
    checkpoint_timeout = { value = "900", static = false }
    wal_compression    = { value = "zstd", static = false }
    # The usual of version 15, said so that nobody has to know it.
    "rds.force_ssl" = { value = "1", static = false }
    # What is slow, without the values of its parameters, which are clients' data.
    log_min_duration_statement = { value = "1000", static = false }
    log_parameter_max_length   = { value = "0", static = false }
    log_lock_waits             = { value = "1", static = false }
    log_statement              = { value = "ddl", static = false }
  }
}

resource "aws_db_parameter_group" "main" {
  name_prefix = "${var.name}-postgres15-"
  description = "What Millrace needs of PostgreSQL"
  family      = "postgres15"

  dynamic "parameter" {
    for_each = local.database_parameters

    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.static ? "pending-reboot" : "immediate"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "main" {
  # checkov:skip=CKV_AWS_161:Millrace logs in by a password; a token of IAM would have to be renewed every quarter of an hour
  # checkov:skip=CKV2_AWS_69:rds.force_ssl is 1 in the parameter group, whose dynamic block the check does not read
  # checkov:skip=CKV_AWS_354:encrypted with the account's key of RDS; see "One key" in the README
  identifier     = var.name
  engine         = "postgres"
  engine_version = "15"
  instance_class = var.database_class
  multi_az       = var.database_multi_az

  db_name             = local.database_name
  username            = local.database_user
  password_wo         = ephemeral.aws_secretsmanager_secret_version.database_password.secret_string
  password_wo_version = aws_secretsmanager_secret_version.database_password.secret_string_wo_version

  storage_type          = "gp3"
  allocated_storage     = var.database_storage_gib
  max_allocated_storage = var.database_storage_limit_gib
  storage_encrypted     = true

  db_subnet_group_name   = aws_db_subnet_group.main.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  parameter_group_name       = aws_db_parameter_group.main.name
  auto_minor_version_upgrade = true
  apply_immediately          = var.database_apply_immediately
  maintenance_window         = "sun:02:30-sun:03:30"

  backup_window             = "01:00-02:00"
  backup_retention_period   = var.database_backup_days
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-final"

  performance_insights_enabled          = true
  performance_insights_retention_period = 7
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.database_monitoring.arn
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  depends_on = [aws_cloudwatch_log_group.database]
}

# Made here, so that it has an end: RDS would make it without one.
resource "aws_cloudwatch_log_group" "database" {
  # checkov:skip=CKV_AWS_158:encrypted by CloudWatch with its own key; see "One key" in the README
  # checkov:skip=CKV_AWS_338:how long logs are kept is log_days; a year is a choice, not a need
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.value}"
  retention_in_days = var.log_days
}
