"""The typed edge to the Kubernetes API: parses what it says once, builds what it is told, one small client."""
