"""Hours of mixed load, sampled: memory, descriptors, requests and threads stay flat."""
