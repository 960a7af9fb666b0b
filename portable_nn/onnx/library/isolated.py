"""The onnx library's C++ code for whole models, in a subprocess: a damaged model can crash it.

Its shape inference aborts, for instance, where a computed size is negative, and may never end. One subprocess is kept;
it starts when it is first needed, is restarted after a crash, and ends with this process.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO, Any, Final

from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from portable_nn.core.forks import after_fork, computing
from portable_nn.onnx.library import isolated_side
from portable_nn.onnx.library.isolated_side import ANSWER, REQUEST

_PROGRAM: Final = str(Path(isolated_side.__file__).resolve())


class LibraryError(Exception):
    """The library has refused a model. Never leaves the package."""


class LibraryEndedError(LibraryError):
    """The library has crashed, or used up its processor time."""


def infer_shapes(model: ModelProto, *, strict: bool = False) -> ModelProto:
    """``onnx.shape_inference.infer_shapes``, without propagation of data. Raises ``LibraryError``."""
    return _asked(model, do="infer", strict=strict)


def inline_standard_function(model: ModelProto, domain: str, operator: str) -> ModelProto:
    """``model`` with an operator replaced by its definition in the standard. Raises ``LibraryError``."""
    return _asked(model, do="inline", function=[domain, operator])


_turn = Lock()
_running: list[subprocess.Popen[bytes]] = []
"""The subprocess, if it runs."""


def _asked(model: ModelProto, **what: Any) -> ModelProto:
    with computing(), _turn:
        try:
            done, answer = _answer(json.dumps(what).encode(), model.SerializeToString())
        except (OSError, EOFError) as error:
            _end()
            raise LibraryEndedError(f"the onnx library ended without an answer: {error}") from None
        except (EncodeError, ValueError) as error:
            raise LibraryError(f"the model cannot be passed to the onnx library: {error}") from None
        except BaseException:  # A late answer would be taken for that to the next request.
            _end()
            raise
    if not done:
        raise LibraryError(answer.decode(errors="replace"))
    made = ModelProto()
    made.ParseFromString(answer)
    return made


def _answer(asked: bytes, model: bytes) -> tuple[bool, bytes]:
    """Whether it succeeded, and the resulting model or the error message. Raises ``OSError`` and ``EOFError``."""
    questions, answers = _pipes()
    for part in (REQUEST.pack(len(asked), len(model)), asked, model):
        questions.write(part)
    questions.flush()
    done, length = ANSWER.unpack(_exactly(answers, ANSWER.size))
    return done, _exactly(answers, length)


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError("it broke off")
    return data


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes to and from the subprocess. ``-P`` keeps it from importing modules that lie beside the program."""
    if not _running:
        _running.append(
            subprocess.Popen(
                [sys.executable, "-P", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
    process = _running[0]
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@atexit.register
def _end() -> None:
    while _running:
        process = _running.pop()
        process.kill()
        process.communicate()


@after_fork
def _leave() -> None:
    """In a forked process: close the pipes to the subprocess of the parent, and have none."""
    global _turn
    _turn = Lock()
    while _running:
        process = _running.pop()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        process.returncode = 0  # It is no child of this process, which must not wait for it.
