"""The kernel edge: rings, operations, buffers, and which driver serves them."""
