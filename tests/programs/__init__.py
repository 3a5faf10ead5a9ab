"""Other programs on our loops, started as docs/programs.md says."""
