"""The artifacts of the sandbox's story, and the outcome of each in ``prod``."""

from __future__ import annotations

import hashlib


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PAYMENTS = digest("acme/payments:1.4.0")  # compliant, in staging too
LEDGER = digest("acme/ledger:0.9.1")  # allow-listed
WEB = digest("acme/web:2.3.1")  # non-compliant in prod, compliant in staging
CRON = digest("acme/legacy-cron:7")  # unknown
MAILER = digest("acme/mailer:12")  # compliant in staging
REPORTS = digest("acme/reports:0.3.0")  # in beta, which has no policies
