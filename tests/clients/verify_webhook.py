"""Verifies webhooks as a receiver does, by the reference library of Standard Webhooks. Reads a line of JSON each:
{"secret", "headers", "body"}; prints `verified` or `rejected` and the reason.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    case = json.loads(line)
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"])
        print("verified")
    except WebhookVerificationError as error:
        print("rejected", error)
