"""Tables whose rows stand above their functions."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Rows(dict[str, Callable[..., Any]]):
    """A table of functions by name."""

    def row(self, *names: str, **given: Any) -> Callable[[Function], Function]:
        """Decorate a function that is the row of these names; ``NAME=value`` gives it the value as its first argument.

        Raises ``ValueError`` for a name that has a row.
        """

        def add(function: Function) -> Function:
            bound = {name: partial(function, value) for name, value in given.items()}
            for name in (*names, *given):
                if name in self:
                    raise ValueError(f"{name} has two rows")
                self[name] = bound.get(name, function)
            return function

        return add
