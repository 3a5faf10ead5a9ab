"""PyGObject, as far as its types concern us: everything is Any."""
