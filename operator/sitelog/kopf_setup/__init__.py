"""kopf, as webhook and controller set it up."""
