"""Stored ConfigMaps, kept as the policies want them."""
