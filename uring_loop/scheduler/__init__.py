"""asyncio's scheduler, compiled: handles, timers, the iteration, wake-ups, watches."""
