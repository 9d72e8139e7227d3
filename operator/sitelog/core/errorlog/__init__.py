"""A job pod's error log: its records, what the sidecar copied, and what is uploaded."""
