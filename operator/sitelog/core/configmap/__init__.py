"""The decision about a ConfigMap: one with a job's configuration, or one with a site's resources."""
