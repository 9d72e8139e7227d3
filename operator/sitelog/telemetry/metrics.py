"""Every metric, for Prometheus. Labels hold codes of `core.names` only, never a value that comes from outside."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

DECISIONS: Final = Counter(
    "sitelog_decisions_total",
    "Decisions about objects, by kind of object, decision and reason.",
    ("kind", "decision", "reason"),
)
REVIEW_SECONDS: Final = Histogram(
    "sitelog_review_seconds",
    "Time to answer an admission review, by handler.",
    ("handler",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
POLICIES_SYNCED: Final = Gauge(
    "sitelog_policies_synced_timestamp_seconds",
    "When the policies were last listed in full, as a Unix time.",
)
CERTIFICATE_EXPIRY: Final = Gauge(
    "sitelog_webhook_certificate_expiry_timestamp_seconds",
    "When the certificate in use ends, as a Unix time.",
)
ERROR_LOGS: Final = Counter(
    "sitelog_error_logs_total",
    "What became of job pods' error logs, by result and reason.",
    ("result", "reason"),
)
FOLLOWED: Final = Gauge(
    "sitelog_error_logs_followed", "Job pods whose error log this controller reads, or has read and not sent yet."
)
UPLOADS_ACTIVE: Final = Gauge(
    "sitelog_uploads_active", "Upload Jobs that were running at the last round of this controller."
)
SWEEP_SECONDS: Final = Histogram(
    "sitelog_sweep_seconds",
    "Time of one round over everything that the controller reconciles.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0),
)
SWEPT: Final = Gauge(
    "sitelog_sweep_timestamp_seconds",
    "When everything was last reconciled without an error, as a Unix time.",
)
