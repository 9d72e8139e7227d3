"""Real nodes: kind, and what runs on it."""
