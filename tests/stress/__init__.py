"""Bounded stress of one loop at a time: much at once, and the environment hostile."""
