"""Fails each allocation of each operation: see docs/testing.md."""
