"""Other projects' test-suites, run on asyncio's loop and on ours, test by test."""
