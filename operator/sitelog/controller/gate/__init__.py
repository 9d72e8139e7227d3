"""The gate in the FL clients' pods."""
