"""The commands of `python -m uring_loop`, each in a process of its own."""
