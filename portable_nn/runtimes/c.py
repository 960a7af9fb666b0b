"""C: the file that ``export MODEL net.c`` writes, compiled."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from portable_nn.runtimes.task import Run, Task


def version() -> str | None:
    """The version of the compiler, or ``None`` where there is none."""
    from portable_nn.converters.source.c_compiling import compiler

    command = compiler()
    if command is None:
        return None
    done = subprocess.run([command, "-dumpversion"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def load(task: Task) -> Run:
    """The program; open sizes are its arguments, and it is compiled anew for one that is larger than those before."""
    from portable_nn.converters.source import write_c
    from portable_nn.converters.source.c_compiling import compiled, compiler, run_program
    from portable_nn.core.dims import is_name
    from portable_nn.network import load as load_network

    network, command = load_network(task.path), compiler()
    assert command
    first = {port.shape[:1] for port in task.inputs}
    most = dict[str, int]()
    program = task.folder / "net"

    def run(feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = {
            dim: size
            for port in task.inputs
            for dim, size in zip(port.shape, feeds[port.name].shape, strict=True)
            if is_name(dim) and first != {(dim,)}
        }
        if not program.exists() or any(size > most[name] for name, size in wanted.items()):
            most.update({name: max(size, most.get(name, 1)) for name, size in wanted.items()})
            file = task.folder / "net.c"
            write_c(network, file, up_to=most, verify=False)
            compiled(file.read_text(encoding="utf-8"), task.folder, command)
        return run_program(program, network, list(most), feeds)

    return run
