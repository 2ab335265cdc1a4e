"""Contracts that a plugin author runs against a plugin."""
