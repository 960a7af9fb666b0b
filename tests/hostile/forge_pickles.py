"""Files of ``torch.save``, forged: programs of opcodes, changes of real ones, and the two forms around them."""

from __future__ import annotations

import io
import pickletools
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from file_changes import scrambled

from portable_nn.plain.npz import ERRORS

PROTOCOL: Final = b"\x80\x02"
STORAGES: Final = ("Float", "Double", "BFloat16", "Long", "Bool", "ComplexDouble", "Untyped", "QInt32", "Other")
NUMBERS: Final = (0, 1, 2, 3, 4, 24, -1, 2**31, 2**62, 2**63, 2**64, 10**40, 2**40_000)
NUMBERS_OF_0: Final = bytes(range(96))
NAMES: Final = ("", "w", "a.b", "state_dict", "_parameters", "\ud800", "\n", "9" * 5000, "x" * 70_000, "ä😀")
CALLS: Final = (
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
    ("torch", "float8_e4m3fn"),
    ("os", "system"),
)
METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


# Opcodes


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + len(data).to_bytes(4, "little") + data


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def several(parts: Sequence[bytes]) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def tensor(shape: Sequence[int], strides: Sequence[int], kind: str = "Float", key: str = "0", offset: int = 0) -> bytes:
    """A call that makes a tensor, as ``torch.save`` writes it."""
    held = several([text("storage"), name("torch", f"{kind}Storage"), text(key), text("cpu"), number(4)]) + b"Q"
    places = [several(list(map(number, each))) for each in (shape, strides)]
    return name(*CALLS[0]) + several([held, number(offset), *places, b"\x89", b"}"]) + b"R"


def twice(count: int, pair: bytes = b"h%ch%c\x86") -> bytes:
    """A tuple of a tuple twice, and so on: as many leaves as two to the power of ``count``."""
    return b")q\x00" + b"".join(b"0" + pair % (n, n) + b"q%c" % (n + 1) for n in range(count))


# The two forms of a file


def archive(pickled: bytes, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """As of version 1.6 on."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for member, data in {"data.pkl": pickled, **members}.items():
            made.writestr(f"x/{member}", data)
    return file.getvalue()


def legacy(pickled: bytes, storages: Mapping[str, bytes], item: int = 4) -> bytes:
    """As of before version 1.6: five pickles, and the numbers."""
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    pickles = [number(0x1950A86A20F9469CFC6C), number(1001), b"}" + text("little_endian") + b"\x88s"]
    front = b"".join(PROTOCOL + each + b"." for each in pickles) + pickled + PROTOCOL + keys + b"."
    return front + b"".join((len(each) // item).to_bytes(8, "little") + each for each in storages.values())


# Programs


def program(dice: random.Random) -> bytes:
    """A pickle of containers: with tensors and calls, shared parts, some in themselves, and some of any depth."""
    made = PROTOCOL + _value(dice, [0], dice.choice((1, 2, 3, 5))) + b"."
    return _shuffled(made, dice) if dice.randrange(3) == 0 else made


def _value(dice: random.Random, memory: list[int], depth: int) -> bytes:
    """Steps that leave one value on the stack; ``memory`` counts those that can be recalled."""
    way = dice.randrange(8)
    if memory[0] and way == 0:
        return b"j" + dice.randrange(memory[0]).to_bytes(4, "little")
    if depth == 0 or way == 1:
        return dice.choice(_LEAVES)(dice)
    empty, end = dice.choice(
        ((b"]", b"e"), (b"]", b"e"), (b"}", b"u"), (b"}", b"u"), (b"}", b"u"), (b"", b"t"), (b"\x8f", b"\x90"))
    )
    if empty and dice.randrange(3) == 0:
        empty, memory[0] = empty + b"\x94", memory[0] + 1
    parts = [_value(dice, memory, depth - 1) for _ in range(dice.choice((0, 1, 2, 3, 9)))]
    if end == b"u":
        parts = [dice.choice((_key(dice), _key(dice), _key(dice), part)) + part for part in parts]
    return empty + b"(" + b"".join(parts) + end


def _key(dice: random.Random) -> bytes:
    return dice.choice(
        (text(dice.choice(NAMES)), text(dice.choice(NAMES)), number(dice.choice(NUMBERS)), b")", b"N", b"G@" + bytes(7))
    )


def _tensor(dice: random.Random) -> bytes:
    rank = dice.choice((0, 1, 1, 2, 2, 3, 64, 65))
    shape, strides = ([dice.choice(NUMBERS) for _ in range(rank + dice.choice((0, 0, 0, 1)))] for _ in range(2))
    if dice.randrange(2):
        shape, strides = [2, 3][:rank], [3, 1][:rank]
    plain = dice.randrange(2)
    kind, key, offset = ("Float", "0", 0) if plain else map(dice.choice, (STORAGES, ("0", "1", *NAMES), NUMBERS))
    call = tensor(shape, strides, kind, key, offset)
    return name(*CALLS[2]) + several([call, b"\x89", b"}"]) + b"R" if dice.randrange(3) == 0 else call


def _call(dice: random.Random) -> bytes:
    arguments = several([_key(dice) for _ in range(dice.randrange(9))])
    state = b"}(" + b"".join(text(each) + b"}" for each in ("_parameters", "_buffers", "_modules")) + b"u"
    more = dice.choice((b"", b"", state + b"b", _key(dice) + b"b", _key(dice) + b"Ns", b"Na", b"(NNe"))
    return name(*dice.choice(CALLS)) + arguments + dice.choice((b"R", b"\x81", b"}\x92")) + more


def _nested(dice: random.Random) -> bytes:
    """A value as deep or as long as it gets, or with as many leaves as no machine can visit."""
    deep = wide = 100_000 if dice.randrange(50) == 0 else dice.choice((1, 3, 60, 99, 101, 1200))
    return dice.choice(
        (
            b")" + b"\x85" * deep,
            b"N" + b"Q" * deep,
            b"(" * deep + b"l" * deep,
            b"(" * deep + b"t" * deep,
            b"}" * deep + b"Ns" * (deep - 1),
            (b"}" + text("k")) * deep + b"N" + b"s" * deep,
            name("a", "b") + b")" * deep + b"R\x85" * (deep - 1) + b"R",
            b"(" + b"]" * wide + b"t",
            b"(" + name("a", "b") * wide + b"t",
            b"]q\x00(h\x00" + b"N" * wide + b"e",
            twice(60),
            twice(60, b"]h%cah%ca"),
        )
    )


_LEAVES: Final[Sequence[Callable[[random.Random], bytes]]] = (
    lambda dice: dice.choice((b"]", b"}", b")", b"\x8f", b"N", b"\x88", b"K\x07", b"C\x01a", b"V\\u0020\n")),
    _key,
    *[_tensor] * 6,
    _call,
    lambda dice: several([_key(dice)]) + b"Q",
    lambda dice: text("torch") + text(dice.choice(NAMES)) + b"\x93",
    _nested,
)


def forged(_: bytes, dice: random.Random) -> bytes:
    """A file of a random program, in either form; archives may be packed, which makes a bomb of little."""
    if dice.randrange(4) == 0:
        return legacy(program(dice), {"0": NUMBERS_OF_0})
    return archive(program(dice), {"data/0": NUMBERS_OF_0, "data/1": bytes(9)}, dice.choice(METHODS))


# Changes of real files


def steps_of(data: bytes) -> list[bytes]:
    """The steps of the pickles that follow each other in ``data``, and what is left."""
    steps, at, file = list[bytes](), 0, io.BytesIO(data)
    try:
        while True:
            for _ in pickletools.genops(file):
                pass
            starts = [place or 0 for _, _, place in pickletools.genops(data[at : file.tell()])]
            steps += [
                data[at + start : at + stop]
                for start, stop in zip(starts, [*starts[1:], file.tell() - at], strict=True)
            ]
            at = file.tell()
    except ValueError:
        return [*steps, data[at:]]


def changed(data: bytes, dice: random.Random) -> bytes:
    """The same with a few steps left out, doubled, moved, or in place of each other."""
    return repacked(data, dice, lambda pickled: _shuffled(pickled, dice))


def repacked(data: bytes, dice: random.Random, change: Callable[[bytes], bytes]) -> bytes:
    """The same with a changed pickle; an archive has the right checksums, and may be packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as read:
            members = {each.partition("/")[2]: read.read(each) for each in read.namelist()}
        return archive(change(members.pop("data.pkl")), members, dice.choice(METHODS))
    except (KeyError, *ERRORS):
        return change(data)


def _shuffled(data: bytes, dice: random.Random) -> bytes:
    if dice.randrange(4) == 0:
        return scrambled(data, dice)
    steps = steps_of(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(steps))
        alike, other = (dice.choice([each for each in steps if each[:1] == steps[at][:1]]), dice.choice(steps))
        whole = [[], [steps[at]] * 2, [other], [other, steps[at]], [dice.choice(_LEAVES)(dice)]]
        steps[at : at + 1] = [alike] if dice.randrange(3) else dice.choice(whole)
    return b"".join(steps)


def real(folder: Path) -> dict[str, bytes]:
    """Small files that PyTorch writes, where it is installed, in another process: threads do not survive a fork."""
    done = subprocess.run([sys.executable, "-c", _WRITE, str(folder)], capture_output=True, check=False)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("real-*.pt"))} if done.returncode == 0 else {}


_WRITE: Final = """
import sys, torch
from collections import OrderedDict
layers = {"dense_1": torch.nn.Linear(4, 3), "sigmoid": torch.nn.Sigmoid(), "dense_2": torch.nn.Linear(3, 3)}
net = torch.nn.Sequential(OrderedDict(layers))
adam = torch.optim.Adam(net.parameters())
net(torch.ones(2, 4)).sum().backward()
adam.step()
base = torch.arange(6.0).reshape(2, 3)
kept = {"turned": base.T, "half": base.half(), "brain": base.bfloat16(), "same": base, "none": torch.zeros(0, 4)}
kept |= {"number": 0.5, "words": ["a", None], 3: (True, {1, 2}), "unsigned": torch.ones(2, dtype=torch.uint16)}
whole = {"epoch": 3, "model": net.state_dict(), "optimizer": adam.state_dict()}
for name, value in {"state": net.state_dict(), "whole": whole, "module": net, "kept": kept}.items():
    for protocol, zipped in ((2, True), (2, False), (4, True)):
        path = f"{sys.argv[1]}/real-{name}-{protocol}-{zipped}.pt"
        torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
"""


def files(folder: Path) -> dict[str, bytes]:
    """Valid files; ``folder`` is for what PyTorch writes."""
    pickled = PROTOCOL + b"}" + text("w") + tensor([2, 3], [3, 1]) + b"s."
    made = archive(pickled, {"data/0": NUMBERS_OF_0, "byteorder": b"little"})
    return {"archive.pt": made, "legacy.pt": legacy(pickled, {"0": NUMBERS_OF_0}), **real(folder)}
