"""The processes that compute tasks: this one, some of this machine, or those of a Dask cluster."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import active_children, resource_tracker
from pathlib import Path
from typing import Any, Final, TypeAlias

from portable_nn.core.errors import FileError, MissingPackageError, PortableNNError, UsageError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.text import said
from portable_nn.engines.threads import limit_threads

AHEAD: Final = 4
"""Tasks in flight for each process: the next ones are there when one is done, and no more are held."""

WAIT: Final = 60
"""Seconds that a scheduler, its file, the first of its workers, and the end of all of them are waited for."""


PORT: Final = "127.0.0.1:0"
"""The address where the processes of this machine tell how they are: any port that is free, for this machine alone."""

QUIET: Final = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
}
"""Options of Dask: looking 100 times a second at what processes do takes a part of them."""

ATTEMPTS: Final = 3
"""The number of times that processes are started before the run is given up."""


@dataclass(frozen=True)
class Processes:
    """The executor of tasks, of a function that other processes can import and its arguments; and its number of
    workers: those of a cluster come and go."""

    submit: Callable[..., Pending]
    count: Callable[[], int]


class LostError(PortableNNError):
    """A task that ended the process that computed it, several times, or failed in a way that no error is for."""


@contextmanager
def processes(workers: int | None, scheduler: str | None) -> Iterator[Processes]:
    """Processes that compute tasks, for as long as the block lasts.

    Args:
        workers: how many are started on this machine; 0 for none but this one.
        scheduler: the address of a Dask scheduler whose workers compute instead, ``tcp://10.0.0.1:8786``, or the file
            with it that ``dask scheduler --scheduler-file`` writes.

    Raises:
        MissingPackageError: dask.distributed is missing.
        FileError: the scheduler does not answer, or has no workers.
    """
    if workers == 0 and scheduler is None:
        yield Processes(lambda function, *arguments: _Here(partial(function, *arguments)), lambda: 1)
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingPackageError("distributed", "computing in several processes", "scale") from None
    if scheduler is None:
        import dask

        with dask.config.set(QUIET):
            with _without_interrupts():
                started = _started(LocalCluster, workers)
            with _closing(started) as local, Client(local) as client:
                # Who waits for tasks when a run is interrupted has nobody left to report that to.
                client.loop.asyncio_loop.set_exception_handler(lambda loop, context: None)
                yield Processes(partial(_submit, client), lambda: workers or 1)
        return
    try:
        client = Client(_address(scheduler), timeout=WAIT)
    except (OSError, ValueError) as error:
        raise FileError(scheduler, f"no Dask scheduler answers there {said(error)}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError:
            raise FileError(scheduler, "this Dask scheduler has no workers: start dask worker ADDRESS") from None
        yield Processes(partial(_submit, client), partial(_threads, client))


@contextmanager
def _closing(local: Any) -> Iterator[Any]:
    """The cluster, which is closed at the end, also where a worker was killed while it started: Dask waits for that."""
    try:
        yield local
    finally:
        try:
            local.close(timeout=WAIT)
        except TimeoutError:
            for process in active_children():
                process.kill()


def _address(scheduler: str) -> str:
    """The address of a scheduler; that in its file, as soon as it is there."""
    if not scheduler.endswith(".json"):
        return scheduler
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with suppress(OSError, ValueError, KeyError, TypeError):  # It is being written.
            return str(parsed_json(Path(scheduler).read_bytes())["address"])
        time.sleep(0.1)
    raise FileError(scheduler, "expected the file that dask scheduler --scheduler-file writes, found no address there")


def _threads(client: Any) -> int:
    """The number of tasks that the present workers of a cluster compute at once."""
    try:
        return sum(client.nthreads().values())
    except Exception:  # The task that is waited for says what is wrong.
        return 1


def _started(cluster: Any, workers: int | None) -> Any:
    """Processes of this machine. One that ends while it starts is no reason to give up."""
    options: dict[str, Any] = {"threads_per_worker": 1, "silence_logs": logging.CRITICAL, "dashboard_address": PORT}
    options["security"] = find_spec("cryptography") is not None  # Nobody else on this machine may send them tasks.
    for attempt in range(ATTEMPTS):
        try:
            return cluster(n_workers=workers, processes=True, **options)
        except (RuntimeError, OSError) as error:
            if attempt == ATTEMPTS - 1:
                raise FileError("the processes", f"cannot be started {said(error)}") from error
    raise AssertionError


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process, which ends the others: they, and the thread that starts them anew, never see it.

    What is blocked in a thread is blocked in all threads and processes that it starts. Here it comes after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # As on Windows.
        yield
        return
    resource_tracker.ensure_running()  # The first thread that starts it would be left with nothing blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_processes(workers: int | None, scheduler: str | None) -> None:
    """Raise ``UsageError`` where it is not said who computes, or twice."""
    if (workers is None) == (scheduler is None):
        raise UsageError("either workers or scheduler says which processes compute")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= 1024):
        raise UsageError(f"workers must be a whole number from 0, for this process alone, to 1,024, not {workers!r}")


@dataclass(frozen=True)
class _Here:
    """A task of this process, whose result is computed when its turn has come."""

    result: Callable[[], Any]

    def cancel(self) -> None:
        """Nothing has begun."""


@dataclass(frozen=True)
class _There:
    """A task of another process."""

    future: Any
    scheduler: str

    def result(self) -> Any:
        """The result of the task, as soon as it is there. Raises the error of the task."""
        from concurrent.futures import CancelledError

        from distributed.comm import CommClosedError

        try:
            return self.future.result()
        except PortableNNError:
            raise
        except (CommClosedError, CancelledError, TimeoutError) as error:
            raise FileError(self.scheduler, f"the Dask scheduler was lost {said(error)}") from error
        except Exception as error:
            raise LostError(_reason(error)) from error

    def cancel(self) -> None:
        """Do not compute it, if that has not begun."""
        self.future.cancel()


Pending: TypeAlias = _Here | _There
"""A task that was handed over."""


def _submit(client: Any, function: Callable[..., Any], *arguments: Any) -> _There:
    # Pure functions have keys that follow from the arguments: what an earlier run was told would be handed out again.
    return _There(client.submit(_with_one_thread, function, *arguments, pure=False), str(client.scheduler.address))


def _with_one_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in one of several processes that share the cores."""
    limit_threads(1)
    return function(*arguments)


def _reason(error: Exception) -> str:
    """Why a task failed."""
    if type(error).__name__ == "KilledWorker":
        return "it ended every process that computed it, without a message: out of memory, or a crash"
    return f"{type(error).__name__}: {error}"
