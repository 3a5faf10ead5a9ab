"""The version, readable without building anything."""

__version__ = "0.1.0"
