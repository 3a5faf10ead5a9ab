"""Tests of uring_loop; see CONTRIBUTING for which folder proves what."""
