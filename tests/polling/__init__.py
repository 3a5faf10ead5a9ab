"""Adaptive busy polling: how long it spins, what ends a spin, what it reports."""
