"""CPython's own asyncio tests, run with another loop put in."""
