"""Sitelog: a federated-learning site's log policy, in the Kubernetes API."""
