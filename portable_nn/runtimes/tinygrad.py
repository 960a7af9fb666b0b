"""tinygrad on the processor, whose kernels clang or LLVM compiles."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import which
from typing import Any, Final

from portable_nn.runtimes.task import Run, Task

_GCC: Final = """#!/bin/sh
# gcc in the place of clang, which can write to standard output, and knows an option more.
out=$(mktemp)
for word in "$@"; do shift; case "$word" in --target=*|-o) ;; *) set -- "$@" "$word";; esac; done
count=$#; place=0
for word in "$@"; do shift; place=$((place+1)); [ $place = $count ] || set -- "$@" "$word"; done
gcc "$@" -o "$out" && cat "$out"; code=$?; rm -f "$out"; exit $code
"""
"""A compiler for the few small programs that tinygrad hands to clang in any case."""


def load(task: Task) -> Run:
    """Its runner of ONNX files, a new one for each of the inputs: it keeps the sizes of the first."""
    if which("clang") is None and which("gcc") and "DEV" not in os.environ:
        compiler = Path(task.folder) / "gcc-for-clang"
        compiler.write_text(_GCC, encoding="utf-8")
        compiler.chmod(0o700)
        os.environ |= {"CC": str(compiler), "DEV": "CPU:LLVM"}
    os.environ.setdefault("CACHELEVEL", "0")  # It would keep what it compiles in the user's folder.
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    def run(feeds: Any) -> dict[str, Any]:
        found = OnnxRunner(str(task.path))({name: Tensor(array) for name, array in feeds.items()})
        return {port.name: found[port.name].numpy() for port in task.outputs}

    return run
