"""Methods of a class whose module is imported when one of them is first looked up."""

import importlib


class Later:
    """Stands in a class for the function of its own name in a module of ours.

    The first look-up puts the function in its place, so that later ones, and calls,
    are those of any method.
    """

    def __init__(self, module):
        self._module = module

    def __set_name__(self, owner, name):
        self._owner = owner
        self._name = name

    def __get__(self, instance, owner=None):
        module = importlib.import_module(f"uring_loop.{self._module}")
        function = getattr(module, self._name)
        setattr(self._owner, self._name, function)
        return function.__get__(instance, owner)
