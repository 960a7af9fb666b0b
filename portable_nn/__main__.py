"""The command line: ``portable-nn`` and ``python -m portable_nn``.

Ctrl-C ends it quietly, whatever it is doing. Only while a command runs, it is an exception as always, so that
half-written files are removed and a training saves what it has; before, while Python imports, and after, it ends the
process as it ends other programs.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # Unlike signal, it takes no time to import.
import sys

INTERRUPTED = 130
"""The exit code that shells give a process that Ctrl-C ended: 128 and SIGINT."""


def main(*, limited: bool = False) -> int:
    """Run the command line of the process, and return the exit code.

    Args:
        limited: whether this is the process with a time limit that ``--timeout`` has started.
    """
    handler = _signal.getsignal(_signal.SIGINT)
    if handler is not _signal.default_int_handler:  # As where a shell starts it in the background: Ctrl-C is ignored.
        return _run(limited)
    try:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        from portable_nn import cli as cli

        _signal.signal(_signal.SIGINT, handler)
        return _run(limited)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def _run(limited: bool) -> int:
    from portable_nn import cli

    sys.unraisablehook = _once_more
    cli.timing.has_limit = limited
    return cli.main()


def _once_more(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt again, outside of this function, where Python would ignore a ``KeyboardInterrupt``: in a finalizer."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        from threading import Timer

        Timer(0.01, _signal.raise_signal, [_signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(ignored)


if __name__ == "__main__":
    sys.exit(main())
