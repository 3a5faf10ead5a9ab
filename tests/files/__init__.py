"""Tests of files on the loop: uring_loop.open, uring_loop.fs, uring_loop.Path."""
