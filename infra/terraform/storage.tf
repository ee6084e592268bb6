# Uploaded files, and the load balancer's logs. Buckets are named by S3 for the whole world, so with the account.

resource "aws_s3_bucket" "files" {
  # checkov:skip=CKV_AWS_144:a copy in another region is a decision about money and law, not a default
  # checkov:skip=CKV_AWS_145:encrypted by S3 with its own key; see "One key" in the README
  # checkov:skip=CKV_AWS_18:who read which file is in Millrace's audit log; requests by others are CloudTrail's matter
  # checkov:skip=CKV2_AWS_62:nobody waits for events of the bucket; Millrace knows its files from PostgreSQL
  bucket = "${var.name}-files-${data.aws_caller_identity.current.account_id}-${var.region}"
}

resource "aws_s3_bucket" "logs" {
  # checkov:skip=CKV_AWS_144:logs of requests need no second copy
  # checkov:skip=CKV_AWS_145:load balancers write to buckets with S3's own key only
  # checkov:skip=CKV_AWS_18:logs about logs
  # checkov:skip=CKV_AWS_21:logs are written once and expire
  # checkov:skip=CKV2_AWS_62:nobody waits for events of the bucket
  bucket = "${var.name}-logs-${data.aws_caller_identity.current.account_id}-${var.region}"
}

locals {
  buckets = { files = aws_s3_bucket.files, logs = aws_s3_bucket.logs }
}

resource "aws_s3_bucket_public_access_block" "main" {
  for_each = local.buckets

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# No access lists: rights are in policies only.
resource "aws_s3_bucket_ownership_controls" "main" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "files" {
  bucket = aws_s3_bucket.files.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "files" {
  bucket = aws_s3_bucket.files.id

  # What a killed process leaves of an upload only S3 can see.
  rule {
    id     = "unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # Millrace deletes files when they are due (MILLRACE_KEEP_FILES_DAYS); these are the versions behind.
  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.file_versions_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  depends_on = [aws_s3_bucket_versioning.files]
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.log_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.buckets

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

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

data "aws_iam_policy_document" "logs_bucket" {
  source_policy_documents = [data.aws_iam_policy_document.tls_only["logs"].json]

  statement {
    sid       = "LoadBalancerWrites"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/load-balancer/AWSLogs/${data.aws_caller_identity.current.account_id}/*"]

    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }
}

resource "aws_s3_bucket_policy" "files" {
  bucket     = aws_s3_bucket.files.id
  policy     = data.aws_iam_policy_document.tls_only["files"].json
  depends_on = [aws_s3_bucket_public_access_block.main]
}

resource "aws_s3_bucket_policy" "logs" {
  bucket     = aws_s3_bucket.logs.id
  policy     = data.aws_iam_policy_document.logs_bucket.json
  depends_on = [aws_s3_bucket_public_access_block.main]
}
