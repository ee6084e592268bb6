# What has to be there before the first `terraform init` above: the bucket that holds the state, and the repository
# that holds the image. Its own state is a file here; if it is lost, both can be imported again.

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

variable "name" {
  description = "Name of the installation, as above."
  type        = string
  default     = "millrace"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "3 to 16 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region, as above."
  type        = string
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Application = var.name
      ManagedBy   = "terraform"
    }
  }
}

data "aws_caller_identity" "current" {}

resource "aws_s3_bucket" "state" {
  # checkov:skip=CKV_AWS_144:older versions of a state are kept, and what it describes can be imported
  # checkov:skip=CKV_AWS_145:encrypted by S3 with its own key; the state holds no passwords
  # checkov:skip=CKV_AWS_18:who reads states is CloudTrail's matter
  # checkov:skip=CKV2_AWS_62:nobody waits for events of the bucket
  bucket = "${var.name}-terraform-${data.aws_caller_identity.current.account_id}-${var.region}"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# A state that was spoilt can be taken back.
resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days           = 90
      newer_noncurrent_versions = 20
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket     = aws_s3_bucket.state.id
  policy     = data.aws_iam_policy_document.state.json
  depends_on = [aws_s3_bucket_public_access_block.state]
}

resource "aws_ecr_repository" "millrace" {
  # checkov:skip=CKV_AWS_136:encrypted by ECR with its own key; the image holds no secrets
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Enough to go back a long way. What runs is never among those that go, if there are fewer than thirty deployments
# between.
resource "aws_ecr_lifecycle_policy" "millrace" {
  repository = aws_ecr_repository.millrace.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest thirty"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}

output "backend" {
  description = "Lines of ../backend.hcl."
  value       = <<-LINES
    bucket = "${aws_s3_bucket.state.id}"
    key    = "millrace.tfstate"
    region = "${var.region}"
  LINES
}

output "image_repository_url" {
  description = "Where the image is pushed."
  value       = aws_ecr_repository.millrace.repository_url
}

output "image_repository_arn" {
  description = "Value of image_repository_arn."
  value       = aws_ecr_repository.millrace.arn
}
