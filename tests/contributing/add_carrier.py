"""Networks are saved, loaded, converted and run from such a file, and a changed byte is found."""

from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.core.errors import FormatError

net = pnn.Sequential(pnn.Input(784), pnn.Dense(3), labels="abc", seed=0)
digest, x = net.save("net.pnn"), np.random.default_rng(0).random((5, 784), np.float32)
for lazy in (False, True):
    back = pnn.load("net.pnn", lazy=lazy, digest=digest)
    assert np.array_equal(back.predict(x), net.predict(x))

np.save("x.npy", x)
for command in ("predict net.pnn x.npy", "convert net.pnn net.h5", "convert net.h5 again.pnn"):
    assert not main(command.split()), command
data = Path("net.pnn").read_bytes()
assert Path("again.pnn").read_bytes() == data

text = 8 + 64 + int.from_bytes(data[:8], "little")
assert text % 64, "the place after the text is in the padding"
for place in (3, 20, 200, text, len(data) - 1):
    Path("bad.pnn").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(FormatError):
        pnn.load("bad.pnn")
Path("bad.pnn").write_bytes(data[:-1])
with pytest.raises(FormatError, match="truncated"):
    pnn.load("bad.pnn")
