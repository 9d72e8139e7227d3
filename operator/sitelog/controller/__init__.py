"""Process 2, `sitelog controller`: pods' ends, existing ConfigMaps, policies' status, the webhook's certificates."""
