"""Statistics, metrics and spans of a loop."""
