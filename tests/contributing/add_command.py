"""The command is in the help of the program, has help of its own, and runs."""

import contextlib
import io
import json

import portable_nn as pnn
from portable_nn.cli import main


def printed(*words: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert not main(words)
    return out.getvalue()


assert ["digest", "Print the digest of a model."] in [line.split(maxsplit=1) for line in printed("--help").splitlines()]
assert "portable-nn digest [OPTIONS] MODEL" in printed("digest", "--help")
digest = printed("digest", "digits").strip()
assert digest == pnn.inspect("digits").digest
assert len(digest) == 64
assert json.loads(printed("digest", "digits", "--format", "json"))["digest"] == digest
[described] = json.loads(printed("help", "digest", "--format", "json"))["commands"]
assert described["output"]["required"] == ["schema", "model", "digest"]
