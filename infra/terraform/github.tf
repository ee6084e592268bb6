# What the workflows of a repository on GitHub may do here, made if github_repository names it. They log in by tokens
# that GitHub signs for a run and that say which repository and what of it: no key is stored there.

locals {
  github_issuer = "token.actions.githubusercontent.com"

  # By role, whose tokens are taken: of a pull request's jobs; of jobs in the environment, which GitHub starts only when
  # the environment's rules allow it. Other branches, tags, environments and repositories have other subjects.
  github_subjects = {
    for role, subject in { plan = "pull_request", deploy = "environment:${var.github_environment}" } :
    role => "repo:${var.github_repository}:${subject}"
    if var.github_repository != null && (role != "plan" || var.github_plans)
  }

  github_provider_arn = var.github_oidc_provider_arn != null ? var.github_oidc_provider_arn : one(aws_iam_openid_connect_provider.github[*].arn)

  ecs_arn = "arn:${data.aws_partition.current.partition}:ecs:${var.region}:${data.aws_caller_identity.current.account_id}"
  iam_arn = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}"

  # As bootstrap/ names it.
  state_bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.name}-terraform-${data.aws_caller_identity.current.account_id}-${var.region}"

  managed_secret_arns = [
    aws_secretsmanager_secret.admin_password.arn,
    aws_secretsmanager_secret.database_password.arn,
    aws_secretsmanager_secret.database_url.arn,
  ]
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != null && var.github_oidc_provider_arn == null ? 1 : 0

  url            = "https://${local.github_issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_assume" {
  for_each = local.github_subjects

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.github_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:sub"
      values   = [each.value]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github_subjects

  name               = "${var.name}-github-${each.key}"
  description        = each.key == "plan" ? "Plans pull requests: reads the state and the secrets that Terraform manages" : "Brings new images to the services"
  assume_role_policy = data.aws_iam_policy_document.github_assume[each.key].json

  # A deployment's session is as long as its job: going back must still be allowed after a long migration.
  max_session_duration = each.key == "plan" ? 3600 : 14400
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_subjects

  name   = each.key
  role   = aws_iam_role.github[each.key].id
  policy = each.key == "plan" ? data.aws_iam_policy_document.github_plan.json : data.aws_iam_policy_document.github_deploy.json
}

# ---- Plan -------------------------------------------------------------------------------------------------------

# What the provider reads of everything that is made here, and nothing that clients have brought. It takes no lock, for
# which it would have to write.
data "aws_iam_policy_document" "github_plan" {
  # checkov:skip=CKV_AWS_356:Describe only describes and lists, and AWS knows no resources for much of it
  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [local.state_bucket_arn, "${local.state_bucket_arn}/*"]
  }

  statement {
    sid = "Describe"
    actions = [
      "acm:DescribeCertificate",
      "acm:ListTagsForCertificate",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:ListTagsForResource",
      "ec2:DescribeAddresses",
      "ec2:DescribeAddressesAttribute",
      "ec2:DescribeFlowLogs",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeManagedPrefixLists",
      "ec2:DescribeNatGateways",
      "ec2:DescribeNetworkAcls",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribePrefixLists",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeTags",
      "ec2:DescribeVpcAttribute",
      "ec2:DescribeVpcEndpoints",
      "ec2:DescribeVpcs",
      "ecs:DescribeClusters",
      "ecs:DescribeServices",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTagsForResource",
      "elasticache:Describe*",
      "elasticache:ListTagsForResource",
      "elasticloadbalancing:Describe*",
      "events:DescribeRule",
      "events:ListTagsForResource",
      "events:ListTargetsByRule",
      "logs:DescribeLogGroups",
      "logs:ListTagsForResource",
      "rds:DescribeDBInstances",
      "rds:DescribeDBParameterGroups",
      "rds:DescribeDBParameters",
      "rds:DescribeDBSubnetGroups",
      "rds:ListTagsForResource",
      "route53:GetHostedZone",
      "route53:ListResourceRecordSets",
      "route53:ListTagsForResource",
      "servicediscovery:GetNamespace",
      "servicediscovery:GetService",
      "servicediscovery:ListTagsForResource",
      "sns:GetSubscriptionAttributes",
      "sns:GetTopicAttributes",
      "sns:ListTagsForResource",
    ]
    resources = ["*"]
  }

  # How the buckets are set up, not what is in them.
  statement {
    sid = "DescribeBuckets"
    actions = [
      "s3:GetAccelerateConfiguration",
      "s3:GetBucket*",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration",
      "s3:ListBucket",
      "s3:ListTagsForResource",
    ]
    resources = [for bucket in local.buckets : bucket.arn]
  }

  statement {
    sid = "DescribeRoles"
    actions = [
      "iam:GetOpenIDConnectProvider",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListOpenIDConnectProviderTags",
      "iam:ListRolePolicies",
      "iam:ListRoleTags",
    ]
    resources = [
      "${local.iam_arn}:role/${var.name}-*",
      "${local.iam_arn}:oidc-provider/${local.github_issuer}",
    ]
  }

  # To find whether a version is there, the provider asks for its value, and a plan opens the database's password as an
  # apply does. It keeps and prints none of them.
  statement {
    sid       = "ReadManagedSecrets"
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy", "secretsmanager:GetSecretValue"]
    resources = local.managed_secret_arns
  }

  # Those of the providers of messages, and all others, whatever else is ever attached to the role.
  statement {
    sid           = "NoOtherSecrets"
    effect        = "Deny"
    actions       = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"]
    not_resources = local.managed_secret_arns
  }
}

# ---- Deploy -----------------------------------------------------------------------------------------------------

# What ../deploy/deploy.sh, run-task.sh and ../deploy/copy-image.sh call. Whoever may deploy decides what runs, with the
# rights and secrets of the tasks: that is for the environment's rules on GitHub to guard.
data "aws_iam_policy_document" "github_deploy" {
  statement {
    sid       = "Define"
    actions   = ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"]
    resources = ["*"] # The actions know no resources; what a definition may do is bounded by PassRoles.
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = [for role in concat(values(aws_iam_role.execution), values(aws_iam_role.task)) : role.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "Migrate"
    actions   = ["ecs:RunTask"]
    resources = ["${local.ecs_arn}:task-definition/${var.name}-migrate:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.main.arn]
    }
  }

  statement {
    sid       = "WaitForMigration"
    actions   = ["ecs:DescribeTasks"]
    resources = ["${local.ecs_arn}:task/${aws_ecs_cluster.main.name}/*"]
  }

  statement {
    sid       = "ReadItsLog"
    actions   = ["logs:GetLogEvents"]
    resources = ["${aws_cloudwatch_log_group.role["migrate"].arn}:log-stream:*"]
  }

  statement {
    sid       = "Replace"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [for role in keys(local.services) : "${local.ecs_arn}:service/${aws_ecs_cluster.main.name}/${role}"]
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == null ? [] : [var.image_repository_arn]

    content {
      sid = "PushImage"
      actions = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.image_repository_arn == null ? [] : [var.image_repository_arn]

    content {
      sid       = "LogInToRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"] # The action knows no resources.
    }
  }
}
