"""What asyncio promises us without saying so, checked on every version."""
