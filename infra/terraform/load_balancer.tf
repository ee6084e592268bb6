# HTTPS for clients, HTTP to the api. WebSockets and server-sent events need nothing but patience: the server pings
# each 20 s and beats each 10 s, and a connection counts as idle after 120.

resource "aws_lb" "main" {
  # checkov:skip=CKV2_AWS_28:which requests a firewall may refuse depends on the clients; Millrace limits logins and bodies itself
  name               = var.name
  load_balancer_type = "application"
  subnets            = [for subnet in aws_subnet.public : subnet.id]
  security_groups    = [aws_security_group.load_balancer.id]

  idle_timeout               = 120
  drop_invalid_header_fields = true
  # Millrace compares Origin with Host.
  preserve_host_header       = true
  enable_deletion_protection = var.deletion_protection

  access_logs {
    bucket  = aws_s3_bucket.logs.id
    prefix  = "load-balancer"
    enabled = true
  }

  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "api" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; Millrace serves HTTP, and only the load balancer's group reaches it
  name_prefix          = "api-"
  vpc_id               = aws_vpc.main.id
  target_type          = "ip"
  port                 = local.api_port
  protocol             = "HTTP"
  deregistration_delay = var.drain_seconds

  # Ready is: PostgreSQL answers, its schema is not older than the version, files can be written. A task that fails
  # here is replaced, which helps little while PostgreSQL is away. So it takes 150 s: a failover to the standby is over
  # by then. A process that has ended is noticed at once, by ECS.
  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 15
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  certificate_arn   = var.zone_id == null ? var.certificate_arn : aws_acm_certificate_validation.api[0].certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

# ---- With zone_id: certificate and address ----------------------------------------------------------------------

resource "aws_acm_certificate" "api" {
  count = var.zone_id == null ? 0 : 1

  domain_name       = var.host
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "certificate" {
  count = var.zone_id == null ? 0 : 1

  zone_id         = var.zone_id
  name            = tolist(aws_acm_certificate.api[0].domain_validation_options)[0].resource_record_name
  type            = tolist(aws_acm_certificate.api[0].domain_validation_options)[0].resource_record_type
  records         = [tolist(aws_acm_certificate.api[0].domain_validation_options)[0].resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "api" {
  count = var.zone_id == null ? 0 : 1

  certificate_arn         = aws_acm_certificate.api[0].arn
  validation_record_fqdns = [aws_route53_record.certificate[0].fqdn]
}

resource "aws_route53_record" "api" {
  count = var.zone_id == null ? 0 : 1

  zone_id = var.zone_id
  name    = var.host
  type    = "A"

  alias {
    name                   = aws_lb.main.dns_name
    zone_id                = aws_lb.main.zone_id
    evaluate_target_health = false
  }
}
