"""The program that ``processes`` starts: it runs models in one runtime, and writes an answer for each."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from portable_nn.runtimes.task import Port, Task


def main(module: str, listed: str, memory: int) -> None:
    """Run the tasks in the file ``listed``, from standard output's first line on one answer a line."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a runtime prints is no answer.
    _limit(memory)
    name, _, function = module.partition(":")
    load = getattr(import_module(name), function or "load")
    for task in json.loads(Path(listed).read_bytes()):
        answers.write(json.dumps(_answer(load, task)) + "\n")
        answers.flush()
    os._exit(0)  # Some runtimes crash when their process ends.


def _limit(memory: int) -> None:
    """Limit the memory that this process and those that it starts can take, where the system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _answer(load: Any, task: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    given = Task(Path(task["path"]), _ports(task["inputs"]), _ports(task["outputs"]), Path(task["folder"]))
    try:
        run = load(given)
        for feeds in task["feeds"]:
            with np.load(given.folder / f"{feeds}.npz") as stored:
                taken = {port.name: stored[str(place)] for place, port in enumerate(given.inputs)}
            found = run(taken)
            arrays = [found[port.name] for port in given.outputs] if isinstance(found, Mapping) else found
            results: Any = dict(zip(map(str, range(len(given.outputs))), map(np.asarray, arrays), strict=True))
            np.savez(given.folder / f"{feeds}-found.npz", **results)
    except BaseException as error:  # Panics of Rust are no Exception.
        return {"reason": str(error).strip() or type(error).__name__, "where": traceback.format_exc()[-2000:]}
    return {"reason": ""}


def _ports(listed: list[list[Any]]) -> tuple[Port, ...]:
    return tuple(Port(name, dtype, tuple(shape)) for name, dtype, shape in listed)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
