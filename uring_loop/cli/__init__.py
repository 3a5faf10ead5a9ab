"""The commands of `python -m uring_loop`; `import uring_loop` imports none of them."""
