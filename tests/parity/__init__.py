"""Bodies that run on asyncio's own loop and on ours; their traces must be equal."""
