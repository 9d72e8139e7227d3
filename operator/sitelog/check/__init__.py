"""`sitelog check`: the webhook's decision about files, for a person or a pipeline."""
