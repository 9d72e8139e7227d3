"""Runs inside the site's FL client: every job's configuration passes the Kubernetes API before the job starts."""

LOGGER = "sitelog.gate.SitelogGate"  # NVFlare's log shows the last part
