"""Tests of the kernel header and of Ring, on the kernel itself and without asyncio."""
