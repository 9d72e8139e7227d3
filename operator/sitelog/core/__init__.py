"""Decisions: text and values in, values out. Knows no clock, no network, no kopf and no Kubernetes client."""
