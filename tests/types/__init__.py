"""The stubs against the package, and the types of the code in README and examples."""
