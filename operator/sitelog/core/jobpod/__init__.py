"""A job pod: what in it runs a job, and what keeps that from streaming its log."""
