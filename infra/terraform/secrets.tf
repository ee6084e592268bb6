# Passwords are made while Terraform applies and go to Secrets Manager by write-only arguments: they are in no state
# and no plan. What a later step needs it reads back from the secret, so an apply that broke off in between goes on
# with the password that was stored, not with another one.

locals {
  database_user = "millrace"
  database_name = "millrace"
}

# Letters and digits only: it stands in a URL.
ephemeral "random_password" "database" {
  length  = 40
  special = false
}

resource "aws_secretsmanager_secret" "database_password" {
  # checkov:skip=CKV_AWS_149:encrypted with the account's key of Secrets Manager; see "One key" in the README
  # checkov:skip=CKV2_AWS_57:changed by database_password_version, which also replaces the tasks; a rotation that does not would cut them off
  name        = "${var.name}/database-password"
  description = "Password of the database's owner, for whoever opens psql"
}

resource "aws_secretsmanager_secret_version" "database_password" {
  secret_id                = aws_secretsmanager_secret.database_password.id
  secret_string_wo         = ephemeral.random_password.database.result
  secret_string_wo_version = var.database_password_version
}

ephemeral "aws_secretsmanager_secret_version" "database_password" {
  secret_id = aws_secretsmanager_secret_version.database_password.secret_id
}

# Millrace reads one variable with the whole URL, so the whole URL is the secret.
resource "aws_secretsmanager_secret" "database_url" {
  # checkov:skip=CKV_AWS_149:encrypted with the account's key of Secrets Manager; see "One key" in the README
  # checkov:skip=CKV2_AWS_57:follows database_password
  name        = "${var.name}/database-url"
  description = "DATABASE_URL of every role"
}

resource "aws_secretsmanager_secret_version" "database_url" {
  secret_id = aws_secretsmanager_secret.database_url.id
  secret_string_wo = format(
    "postgres://%s:%s@%s:%d/%s?sslmode=verify-full",
    local.database_user,
    ephemeral.aws_secretsmanager_secret_version.database_password.secret_string,
    aws_db_instance.main.address,
    aws_db_instance.main.port,
    local.database_name,
  )
  secret_string_wo_version = var.database_password_version
}

ephemeral "random_password" "admin" {
  length  = 24
  special = false
}

# Only the first migration uses it. Changed in Millrace, it is not changed here.
resource "aws_secretsmanager_secret" "admin_password" {
  # checkov:skip=CKV_AWS_149:encrypted with the account's key of Secrets Manager; see "One key" in the README
  # checkov:skip=CKV2_AWS_57:a password of one person's first login
  name        = "${var.name}/admin-password"
  description = "Password of the administrator whom the first migration makes"
}

resource "aws_secretsmanager_secret_version" "admin_password" {
  secret_id                = aws_secretsmanager_secret.admin_password.id
  secret_string_wo         = ephemeral.random_password.admin.result
  secret_string_wo_version = 1
}
