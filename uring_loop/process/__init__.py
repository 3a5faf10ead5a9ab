"""Subprocesses and pipes."""
