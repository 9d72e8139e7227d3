"""Inputs as hypothesis draws them."""
