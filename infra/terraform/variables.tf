# What has no default has to be decided by whoever installs. terraform.tfvars.example has one of each.

# ---- The installation -------------------------------------------------------------------------------------------

variable "name" {
  description = "Name of the installation: prefix of everything that is made, and tag of it."
  type        = string
  default     = "millrace"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "3 to 16 lower-case letters, digits and hyphens, beginning with a letter: names of load balancers are short."
  }
}

variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region is written like eu-central-1."
  }
}

variable "image" {
  description = "The image of Millrace, by digest: registry/repository@sha256:…. A deployment changes this and nothing else."
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by digest, registry/repository@sha256:…; what a tag means can change between two tasks."
  }
}

variable "image_repository_arn" {
  description = "ARN of the ECR repository that holds the image (an output of bootstrap/), which the tasks may then pull from. Null for a public registry."
  type        = string
  default     = null

  validation {
    condition     = var.image_repository_arn == null || can(regex("^arn:[a-z-]+:ecr:", var.image_repository_arn))
    error_message = "This is the ARN of an ECR repository, or null."
  }
}

variable "cpu_architecture" {
  description = "What the image was built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "X86_64 or ARM64."
  }
}

# ---- How it is reached ------------------------------------------------------------------------------------------

variable "host" {
  description = "The name under which people and programs reach Millrace, such as millrace.example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.host))
    error_message = "A host name without scheme and port, such as millrace.example.com."
  }
}

variable "zone_id" {
  description = "Route 53 zone of the host: the certificate and the address record are then made here. Null if you bring certificate_arn and make the record yourself."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "ARN of an ACM certificate of the host, in the region. Null if zone_id is given."
  type        = string
  default     = null

  validation {
    condition     = (var.certificate_arn == null) != (var.zone_id == null)
    error_message = "Give one of zone_id and certificate_arn."
  }
}

variable "client_cidrs" {
  description = "IPv4 networks from which the load balancer may be reached. [\"0.0.0.0/0\"] is everybody."
  type        = list(string)

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for cidr in var.client_cidrs : can(cidrhost(cidr, 0))])
    error_message = "At least one network, each written like 203.0.113.0/24."
  }
}

# ---- Network ----------------------------------------------------------------------------------------------------

variable "vpc_cidr" {
  description = "Network of the VPC, /16 to /18. It should not overlap networks that will be connected with it."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && contains(["16", "17", "18"], try(split("/", var.vpc_cidr)[1], ""))
    error_message = "A network of size /16, /17 or /18, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Two or three availability zones of the region. They are named and not asked for: a list that AWS changes would move subnets with all that is in them. Their order gives the subnets their addresses; append only."
  type        = list(string)

  validation {
    condition = (
      contains([2, 3], length(distinct(var.zones))) && length(var.zones) == length(distinct(var.zones))
      && alltrue([for zone in var.zones : startswith(zone, var.region)])
    )
    error_message = "Two or three different zones of the region, such as [\"eu-central-1a\", \"eu-central-1b\"]: the load balancer and the database need two."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone. With false there is one, which costs less; if its zone is lost, tasks of the others reach neither the registry nor providers of messages."
  type        = bool
  default     = true
}

# ---- Roles ------------------------------------------------------------------------------------------------------

variable "api" {
  description = "Tasks of the role api: how many, CPU units (1024 is one core), MiB of memory."
  type = object({
    count  = optional(number, 2)
    cpu    = optional(number, 1024)
    memory = optional(number, 2048)
  })
  default = {}

  validation {
    condition     = var.api.count >= 1 && contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.api.cpu)
    error_message = "At least one task; Fargate sells 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "worker" {
  description = "Tasks of the role worker. Each core loads a chunk at a time, for which it takes up to 50 MiB."
  type = object({
    count  = optional(number, 2)
    cpu    = optional(number, 2048)
    memory = optional(number, 4096)
  })
  default = {}

  validation {
    condition     = var.worker.count >= 1 && contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.worker.cpu)
    error_message = "At least one task; Fargate sells 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "scheduler" {
  description = "Tasks of the role scheduler. One leads; another follows within five seconds."
  type = object({
    count  = optional(number, 2)
    cpu    = optional(number, 256)
    memory = optional(number, 512)
  })
  default = {}

  validation {
    condition     = var.scheduler.count >= 1 && contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.scheduler.cpu)
    error_message = "At least one task; Fargate sells 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units."
  }
}

variable "stopped" {
  description = "Run no task of api, worker and scheduler, but all the rest: while the database is restored. Alarms go out meanwhile."
  type        = bool
  default     = false
}

variable "scratch_gib" {
  description = "Temporary disk of an api or worker task, in GiB. A workbook that is generated takes its size there."
  type        = number
  default     = 30

  validation {
    condition     = var.scratch_gib >= 21 && var.scratch_gib <= 200
    error_message = "21 to 200 GiB."
  }
}

variable "shutdown_grace_seconds" {
  description = "How long a worker's runs may finish after SIGTERM before they are put back (MILLRACE_SHUTDOWN_GRACE_MS). What is put back burns no attempt."
  type        = number
  default     = 60

  validation {
    condition     = var.shutdown_grace_seconds >= 1 && var.shutdown_grace_seconds <= 100
    error_message = "1 to 100 seconds: Fargate ends a task 120 seconds after SIGTERM at the latest."
  }
}

variable "drain_seconds" {
  description = "How long an api task that is replaced goes on with its requests, uploads and listeners before SIGTERM. Uploads that take longer are cut off, and refused with 503."
  type        = number
  default     = 120

  validation {
    condition     = var.drain_seconds >= 20 && var.drain_seconds <= 3600
    error_message = "20 to 3600 seconds; a request may take up to 60."
  }
}

# ---- Millrace's settings ----------------------------------------------------------------------------------------

variable "reporting_zone" {
  description = "What a day is (MILLRACE_ZONE), such as UTC or Europe/Berlin. The first migration fixes it for ever."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_+/-]*$", var.reporting_zone))
    error_message = "A zone is written like UTC or Europe/Berlin."
  }
}

variable "currency" {
  description = "Currency of rows that name none (MILLRACE_CURRENCY). The first migration fixes it for ever."
  type        = string

  validation {
    condition     = can(regex("^[A-Z]{3}$", var.currency))
    error_message = "A currency is three capital letters, such as USD."
  }
}

variable "settings" {
  description = "Further MILLRACE_* variables of every role, such as { MILLRACE_KEEP_FILES_DAYS = \"90\" }. They stand in plain text in the state and the task definitions: no secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "MILLRACE_")])
    error_message = "Names begin with MILLRACE_."
  }
  validation {
    condition = length(setintersection(keys(var.settings), [
      "MILLRACE_ADMIN_PASSWORD", "MILLRACE_EMAIL", "MILLRACE_SMS", "MILLRACE_TELEGRAM", "MILLRACE_WEBHOOK",
      "MILLRACE_PASSWORD", "MILLRACE_TOKEN",
    ])) == 0
    error_message = "These hold secrets: see notification_secret_arns."
  }
}

variable "notification_secret_arns" {
  description = "Providers of messages: by variable (MILLRACE_EMAIL, MILLRACE_SMS, MILLRACE_TELEGRAM, MILLRACE_WEBHOOK) the ARN of a secret in Secrets Manager whose text is the variable's value. You make the secrets, so that their values never pass through Terraform."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for name, arn in var.notification_secret_arns :
      contains(["MILLRACE_EMAIL", "MILLRACE_SMS", "MILLRACE_TELEGRAM", "MILLRACE_WEBHOOK"], name)
      && can(regex("^arn:[a-z-]+:secretsmanager:", arn))
    ])
    error_message = "Names are MILLRACE_EMAIL, MILLRACE_SMS, MILLRACE_TELEGRAM and MILLRACE_WEBHOOK, values ARNs of secrets."
  }
}

variable "message_ports" {
  description = "TCP ports by which workers reach providers of messages, besides 443: 465 and 587 are for e-mail."
  type        = set(number)
  default     = [465, 587]
}

variable "admin_username" {
  description = "The administrator whom the first migration makes. The password is in Secrets Manager."
  type        = string
  default     = "admin"

  validation {
    condition     = can(regex("^[A-Za-z0-9._@-]{3,64}$", var.admin_username))
    error_message = "3 to 64 letters, digits or the characters . _ @ -"
  }
}

# ---- Pipelines on GitHub ----------------------------------------------------------------------------------------

variable "github_repository" {
  description = "Repository on GitHub whose workflows may log in to AWS, as its tokens name it after repo: owner/name, or with numbers owner@123456/name@456789 where its tokens carry them. Null makes nothing for them."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9_-]*(@[0-9]+)?/[A-Za-z0-9._-]+(@[0-9]+)?$", var.github_repository))
    error_message = "A repository is written owner/name or owner@123456/name@456789, without wildcards, or is null."
  }
}

variable "github_environment" {
  description = "Environment of that repository from which the workflow deploy may deploy here. On GitHub it says who approves and from which branches and tags."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.github_environment))
    error_message = "Letters, digits and the characters . _ - only: other ones are written differently in GitHub's tokens."
  }
}

variable "github_plans" {
  description = "Make the role by which the workflow terraform plans pull requests of that repository. A plan runs what the branch says, reads the state and, because the provider reads the secrets that it manages at each plan, the database's password, its URL and the administrator's first password: whoever may push a branch can read them. With false there are no plans."
  type        = bool
  default     = false
}

variable "github_oidc_provider_arn" {
  description = "ARN of the account's identity provider for token.actions.githubusercontent.com, of which there can be one. Null makes it."
  type        = string
  default     = null

  validation {
    condition     = var.github_oidc_provider_arn == null || can(regex(":oidc-provider/token[.]actions[.]githubusercontent[.]com$", var.github_oidc_provider_arn))
    error_message = "This is arn:aws:iam::…:oidc-provider/token.actions.githubusercontent.com, or null."
  }
}

# ---- PostgreSQL -------------------------------------------------------------------------------------------------

variable "database_class" {
  description = "Class of the database instance. A quarter of its memory becomes shared_buffers."
  type        = string
  default     = "db.m7g.large"

  validation {
    condition     = startswith(var.database_class, "db.")
    error_message = "A class is written like db.m7g.large."
  }
}

variable "database_multi_az" {
  description = "Keep a standby in another zone, to which every commit goes before it is answered."
  type        = bool
  default     = true
}

variable "database_storage_gib" {
  description = "Disk to begin with. From 400 GiB on, RDS gives gp3 four times the throughput, which loading notices."
  type        = number
  default     = 100

  validation {
    condition     = var.database_storage_gib >= 20
    error_message = "At least 20 GiB."
  }
}

variable "database_storage_limit_gib" {
  description = "How far the disk may grow by itself. It never shrinks."
  type        = number
  default     = 1000

  validation {
    condition     = var.database_storage_limit_gib >= ceil(var.database_storage_gib * 1.1)
    error_message = "At least a tenth more than database_storage_gib: RDS refuses less."
  }
}

variable "database_ca_file" {
  description = "PEM file of RDS' authorities: https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem"
  type        = string
  default     = "rds-ca.pem"
}

variable "database_max_connections" {
  description = "Connections that the server takes. Each takes room for 1,024 locks in shared memory; too few make processes wait."
  type        = number
  default     = 400

  validation {
    condition     = var.database_max_connections >= 100 && var.database_max_connections <= 5000
    error_message = "100 to 5000."
  }
}

variable "database_backup_days" {
  description = "How many days back the database can be restored, to any second."
  type        = number
  default     = 14

  validation {
    condition     = var.database_backup_days >= 1 && var.database_backup_days <= 35
    error_message = "1 to 35 days; without backups RDS has no point-in-time recovery."
  }
}

variable "database_password_version" {
  description = "Raise it by one to change the database's password: secret, server and tasks follow in one apply."
  type        = number
  default     = 1

  validation {
    condition     = var.database_password_version >= 1 && floor(var.database_password_version) == var.database_password_version
    error_message = "1, 2, 3 …"
  }
}

variable "database_apply_immediately" {
  description = "Make changes of the instance at once instead of in the next maintenance window. A change of the class then interrupts it now."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Refuse to delete the database and the load balancer. Set it to false, apply, and then destroy."
  type        = bool
  default     = true
}

# ---- Redis ------------------------------------------------------------------------------------------------------

variable "cache_node_type" {
  description = "Class of the Redis nodes. They hold doorbells and small caches."
  type        = string
  default     = "cache.t4g.micro"

  validation {
    condition     = startswith(var.cache_node_type, "cache.")
    error_message = "A class is written like cache.t4g.micro."
  }
}

variable "cache_nodes" {
  description = "Redis nodes. With two, another takes over by itself; with one, runs start a second later until it is back."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2, 3], var.cache_nodes)
    error_message = "1, 2 or 3."
  }
}

# ---- Files, logs, alarms ----------------------------------------------------------------------------------------

variable "file_versions_days" {
  description = "How long files that were deleted or overwritten can still be fetched from the bucket. What the law wants deleted is gone only then."
  type        = number
  default     = 30

  validation {
    condition     = var.file_versions_days >= 1
    error_message = "At least one day."
  }
}

variable "log_days" {
  description = "How long CloudWatch keeps logs. Logs of the load balancer are kept as long."
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827], var.log_days)
    error_message = "CloudWatch knows 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096 and 1827 days."
  }
}

variable "alarm_email" {
  description = "Who is told of alarms; the address has to confirm. Null leaves the topic without subscribers."
  type        = string
  default     = null
}
