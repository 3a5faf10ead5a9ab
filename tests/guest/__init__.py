"""Guest mode: the loop inside a foreign main loop, a small one and the real ones."""
