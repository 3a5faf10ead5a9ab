"""The matrix of docs/compatibility.md: what is promised, where, and what proves it."""
