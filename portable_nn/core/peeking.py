"""An iterator whose next items can be looked at before they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, Generic, TypeVar

from portable_nn.core.errors import PortableNNError

T = TypeVar("T")


class Peeking(Iterator[T], Generic[T]):
    """Items that are given in turn, whether or not somebody has looked at them before.

    An error that comes while somebody looks is raised when its turn comes.

    >>> items = Peeking("abc")
    >>> next(items.ahead()), next(items), list(items)
    ('a', 'a', ['b', 'c'])
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._rest = iter(items)
        self._ahead: list[T] = []
        self.error: PortableNNError | None = None
        """The error that has come while somebody looked, in place of a further item."""

    def ahead(self) -> Iterator[T]:
        """The items from the next one on, which are not taken."""
        for place in count():
            while len(self._ahead) <= place:
                try:
                    self._ahead.append(next(self._rest))
                except StopIteration:
                    return
                except PortableNNError as error:
                    self.error, self._rest = error, map(_raised, [error])
                    return
            yield self._ahead[place]

    def __next__(self) -> T:
        return self._ahead.pop(0) if self._ahead else next(self._rest)


def _raised(error: PortableNNError) -> Any:
    raise error
