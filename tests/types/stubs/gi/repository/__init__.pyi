"""The libraries that PyGObject makes at run time."""

from typing import Any

GLib: Any
