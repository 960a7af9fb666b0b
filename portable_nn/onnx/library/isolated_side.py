"""The program that ``isolated`` runs: it answers requests until there are no more."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import Any, Final

REQUEST: Final = struct.Struct("<QQ")
"""The lengths of the request, which is JSON, and of the model; both follow."""

ANSWER: Final = struct.Struct("<?Q")
"""Whether it succeeded, and the length of what follows: a model, or an error message."""

SECONDS: Final = 5.0
"""The processor time that a request may take, as the library does not end on some damaged models ..."""

PER_BYTE: Final = 1e-5
"""... and how much more for each byte of the model; shape inference takes a hundredth of that for many small nodes."""


def _done(what: dict[str, Any], data: bytes) -> bytes:
    from onnx import ModelProto, inliner, shape_inference

    model = ModelProto.FromString(data)
    if what["do"] == "infer":  # Without data_prop, which takes any amount of memory for absurd sizes.
        made = shape_inference.infer_shapes(model, strict_mode=what["strict"])
    else:
        function = tuple(what["function"])
        made = inliner.inline_selected_functions(model, [function], exclude=False, inline_schema_functions=True)
    return bytes(made.SerializeToString())


def _limit(seconds: float) -> None:
    """End the process after that much more processor time, even within C++ code; 0 for no limit."""
    if hasattr(signal, "setitimer"):  # Not on Windows.
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)


def main() -> None:
    """Answer the requests on standard input."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Keep what the library prints out of the answers.
    while start := requests.read(REQUEST.size):
        asked, model = REQUEST.unpack(start)
        what = json.loads(requests.read(asked))
        _limit(SECONDS + PER_BYTE * model)
        try:
            answer = True, _done(what, requests.read(model))
        except Exception as error:  # The library raises what it likes.
            answer = False, str(error).encode(errors="replace")
        _limit(0)
        answers.write(ANSWER.pack(answer[0], len(answer[1])) + answer[1])
        answers.flush()


if __name__ == "__main__":
    main()
