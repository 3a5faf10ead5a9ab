"""Fuzzers with a seed, and the chaos driver: see docs/testing.md."""
