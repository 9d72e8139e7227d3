"""Pods of jobs and of FL clients, as NVFlare makes them."""
