"""NVFlare's own code as the oracle."""
