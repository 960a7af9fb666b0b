"""The items of an iterable, computed in a thread while the items before them are being used."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread
from typing import Any, TypeVar

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import Count

__all__ = ["Prefetch"]

T = TypeVar("T")

_END = object()


def ahead(items: Iterable[T], most: int = 1) -> Generator[T]:
    """The same items in the same order; a thread makes the next ones, ``most`` at most.

    What ``items`` raises is raised where its item would have come. The thread ends with the last item, or when the
    iterator is closed or forgotten. ``items`` is gone through in that thread alone.
    """
    ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room, over = Semaphore(most), Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            iterator = iter(items)
            while room.acquire() and not over.is_set():
                item = next(iterator, _END)
                ready.put((item, None))
                if item is _END:
                    return
                del item  # It is the reader's now.
        except BaseException as caught:
            error = caught
        ready.put((None, error))

    thread = Thread(target=work, name="reading ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            room.release()
            yield item
            del item
    finally:
        over.set()
        room.release()
        if thread is not current_thread():  # Where the garbage collector closes this.
            thread.join()


@check_kinds
class Prefetch(Iterable[T]):
    """The items of an iterable, such as the batches for ``fit``, made by a thread while the item before is being used.

    Args:
        items: the iterable. It is gone through in that thread alone, from the beginning each time.
        ahead: how many items are made before they are asked for.

    Errors are raised where the item would have come. The thread ends with the last item, or when nobody waits for more.

    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> network = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    >>> batches = [(np.zeros((8, 4)), np.zeros(8, int)) for _ in range(10)]  # or what reads them from a disk
    >>> len(network.fit(pnn.Prefetch(batches), epochs=3)["loss"])
    3
    """

    def __init__(self, items: Iterable[T], *, ahead: Count = 1) -> None:
        if not isinstance(items, Iterable):
            raise UsageError(f"Prefetch takes an iterable, not of the type {type(items).__name__}")
        self._items, self._ahead = items, ahead

    def __iter__(self) -> Iterator[T]:
        return ahead(self._items, self._ahead)

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]
