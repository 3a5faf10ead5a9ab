"""Benchmarks that compare event loops inside one run: `python -m benchmarks`."""
