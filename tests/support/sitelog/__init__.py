"""Sitelog itself, installed or as processes."""
