"""Tests of the world outside the loop: containers, workers, what others own too."""
