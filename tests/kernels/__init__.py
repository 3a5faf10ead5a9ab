"""Runs the tests on other Linux kernels, Debian's, booted in qemu: docs/testing.md."""
