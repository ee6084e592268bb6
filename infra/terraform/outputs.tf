output "url" {
  description = "Where people and programs reach Millrace."
  value       = "https://${var.host}"
}

output "load_balancer_dns_name" {
  description = "What the host's address record has to point to (an alias or CNAME), if zone_id is null."
  value       = aws_lb.main.dns_name
}

output "admin_password_secret_arn" {
  description = "Secret with the password of admin_username, as the first migration set it."
  value       = aws_secretsmanager_secret.admin_password.arn
}

output "database_password_secret_arn" {
  description = "Secret with the password of the database's owner."
  value       = aws_secretsmanager_secret.database_password.arn
}

output "database_endpoint" {
  description = "Host and port of PostgreSQL, inside the VPC."
  value       = aws_db_instance.main.endpoint
}

output "files_bucket" {
  description = "Bucket of the uploaded files."
  value       = aws_s3_bucket.files.id
}

output "cluster" {
  description = "ECS cluster of the services api, worker and scheduler."
  value       = aws_ecs_cluster.main.name
}

output "log_groups" {
  description = "CloudWatch log group of each role."
  value       = { for role, group in aws_cloudwatch_log_group.role : role => group.name }
}

output "task_environment" {
  description = "Variables of run-task.sh, as lines for a shell."
  value       = join("\n", [for name, value in local.task_environment : "export ${name}='${value}'"])
}

output "vpc_id" {
  description = "VPC, for whoever puts a monitoring host or a bastion into it."
  value       = aws_vpc.main.id
}

output "private_subnet_ids" {
  description = "Subnets of the tasks, where a monitoring host goes too."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "monitoring_security_group_id" {
  description = "Security group whose members may read the metrics of every task."
  value       = aws_security_group.monitoring.id
}

output "metrics_targets" {
  description = "Names that resolve, inside the VPC, to every task of a role; the port is the metrics'."
  value       = { for role in keys(local.services) : role => "${role}.${aws_service_discovery_private_dns_namespace.main.name}:${local.metrics_port}" }
}

output "github_plan_role_arn" {
  description = "Variable PLAN_ROLE of the repository on GitHub; null unless github_plans."
  value       = one([for name, role in aws_iam_role.github : role.arn if name == "plan"])
}

output "github_deploy_role_arn" {
  description = "Variable DEPLOY_ROLE of the environment github_environment; null without github_repository."
  value       = one([for name, role in aws_iam_role.github : role.arn if name == "deploy"])
}

output "alarms_topic_arn" {
  description = "SNS topic of the alarms."
  value       = aws_sns_topic.alarms.arn
}
