"""Pickles that are made to crash, hang or fill a reader that hashes, prints or calls what they hold."""

from __future__ import annotations

import io
import sys
import tracemalloc
import zipfile
from math import prod
from pathlib import Path

import numpy as np
import pytest
from bounded import bounded
from forge_pickles import CALLS, PROTOCOL, archive, legacy, name, number, tensor, text, twice

from portable_nn.core.errors import FormatError
from portable_nn.plain import open_tensors, pickles

DEEP, MANY = 3_000, 10**6
HUGE = 2**800_000
STORED = bytes(range(96))
NUMBERS = np.frombuffer(STORED, "<f4")
YEARS = twice(60)
"""A tuple that would take years to hash or to print, in 430 bytes."""

PARAMETER = name("torch._utils", "_rebuild_parameter")
LONG = text("x" * MANY)
TENSOR = b"}" + text("w") + tensor([2, 3], [3, 1]) + b"s"


def beside(steps: bytes) -> bytes:
    """A dict with a tensor, and what the steps make."""
    return TENSOR + text("k") + steps + b"s"


HARMLESS = {
    "a tuple of 200,000 levels as a key": TENSOR + b")" + b"\x85" * 200_000 + b"Ns",
    "shared tuples as a key": TENSOR + YEARS + b"Ns",
    "shared tuples in a set": beside(b"\x8f(" + YEARS + b"Q\x90"),
    "shared tuples that are called": beside(YEARS + b")R"),
    "shared tuples as a storage": beside(YEARS + b"Q"),
    "calls of calls": beside(b"N" + b")R" * DEEP),
    "calls with calls": beside(PARAMETER * DEEP + b")R" + b"\x85R" * (DEEP - 1)),
    "lists of lists in a call": beside(PARAMETER + b"(" * DEEP + b"l" * DEEP + b"\x85R"),
    "a number of 240,000 digits as a key": TENSOR + number(HUGE) + b"Ns",
    "sizes of 240,000 digits": beside(tensor([HUGE] * 60, [1] * 60)),
    "a stride of 240,000 digits": beside(tensor([2], [HUGE])),
    "a storage with a long name": beside(tensor([2], [1], key="x" * MANY)),
    "a long name": beside(b"}" + LONG + b"}(" + b"".join(number(n) + b"ca\nb\n" for n in range(4000)) + b"us"),
    "a tensor of 64 axes many times": beside(
        tensor([1] * 63 + [-1], [1] * 64) + b"q\x00](" + b"h\x00" * 99_999 + b"e0"
    ),
    "a long class": beside(b"](c" + b"x" * MANY + b"\ny\nq\x00" + b"h\x00" * 4000 + b"e"),
}
"""What no honest file holds, but is harmless beside a tensor, which is read."""

REFUSED = {
    "shared tuples as a module": (beside(YEARS + text("w") + b"\x93"), "STACK_GLOBAL does not fit"),
    "a parameter of itself": (beside(PARAMETER + b"]q\x00Rq\x01h\x00h\x01a0"), "REDUCE does not fit"),
    "places whose numbers have one hash": (
        b"]" + b"".join(b"p%d\n" % (n * sys.hash_info.modulus) for n in range(30_000)),
        "PUT does not fit",
    ),
    "a number as arguments": (beside(name(*CALLS[0]) + b"K\x05R"), "REDUCE does not fit"),
    "a list as a dict": (b"](K\x00K\x00u", "SETITEMS does not fit"),
    "two tensors of one name": (
        b"}(" + text("a.b") + tensor([2], [1]) + text("a") + b"}" + text("b") + tensor([1], [1]) + b"su",
        "has two tensors of the name 'a.b'",
    ),
    "a tensor of a long name": (b"}" + LONG + tensor([2], [1]) + b"s", "has a name of 1000 characters or more"),
}

AGAIN = {
    "a long list in itself": b"]q\x00(h\x00" + b"N" * MANY + b"e",
    "a long list twice in a list, and so on": (
        b"](" + b"N" * MANY + b"eq\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(60))
    ),
}

READING = """
from pathlib import Path
for path in sorted(Path({folder!r}).iterdir()):
    try:
        with portable_nn.plain.open_tensors(path) as found:
            print({{name: found[name].tolist() for name in found}}, len(str(found.notes)))
    except PortableNNError as error:
        print(str(error)[:300])
"""


@pytest.mark.long
def test_none_ends_the_process_or_takes_time_or_memory_out_of_proportion(tmp_path: Path) -> None:
    for place, steps in enumerate([*HARMLESS.values(), *(steps for steps, _ in REFUSED.values())]):
        path = tmp_path / f"{place:02}.pt"
        path.write_bytes(archive(PROTOCOL + steps + b".", {"data/0": STORED}, zipfile.ZIP_DEFLATED))
        assert path.stat().st_size < 400_000
    found = bounded(READING.format(folder=str(tmp_path)))
    lines = found.text.splitlines()
    assert len(lines) == len(HARMLESS) + len(REFUSED)
    tensors = {"w": NUMBERS[:6].reshape(2, 3).tolist()}
    assert [line for line in lines[: len(HARMLESS)] if not line.startswith(f"{tensors} ")] == []
    for line, (_, reason) in zip(lines[len(HARMLESS) :], REFUSED.values(), strict=True):
        assert reason in line
    assert found.bytes < 100e6


@pytest.mark.long
@pytest.mark.parametrize("steps", AGAIN.values(), ids=AGAIN)
def test_nor_does_a_long_list_again_and_again(tmp_path: Path, steps: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(archive(PROTOCOL + steps + b".", {}, zipfile.ZIP_DEFLATED))
    found = bounded(READING.format(folder=str(tmp_path)))
    assert "is nested too deeply, or in itself" in found.text
    assert found.bytes < 100e6


@pytest.mark.parametrize("shape", [(1,), (0, 5), (1, 0)])
def test_strides_that_nobody_steps_are_any(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Of an axis of size 1, and of an empty tensor."""
    steps = tensor(shape, [2**62] * len(shape))
    (tmp_path / "x.pt").write_bytes(archive(PROTOCOL + steps + b".", {"data/0": STORED}))
    with open_tensors(tmp_path / "x.pt") as found:
        np.testing.assert_array_equal(found["(the file)"], NUMBERS[: prod(shape)].reshape(shape), strict=True)


def test_keys_that_are_neither_text_nor_numbers_are_named_by_their_place(tmp_path: Path) -> None:
    keys = {
        "a": text("a"), "-3": number(-3), "None": b"N", "0.5": b"G?\xe0" + bytes(6), "True": b"\x88",
        "(key 5)": b"K\x02K\x03\x86", "(key 6)": name("torch", "float32"), "(key 7)": b"C\x01x",
    }  # fmt: skip
    pairs = b"".join(key + tensor([1], [1], offset=place) for place, key in enumerate(keys.values()))
    (tmp_path / "x.pt").write_bytes(archive(PROTOCOL + b"}(" + pairs + b"u.", {"data/0": STORED}))
    with open_tensors(tmp_path / "x.pt") as found:
        assert {name: found[name].tolist() for name in found} == {key: [NUMBERS[n]] for n, key in enumerate(keys)}


STEPS = {
    "lists": b"]", "dicts": b"}", "tuples": b")\x85", "lists of one": b"]Na", "dicts of one": b"}K\x01Ns",
    "recalled": b"]\x94", "remembered": b"\x94", "texts": b"\x8c\x02ab", "other texts": b"\x8c\x04\xf0\x9f\x98\x80",
    "calls": b"N)R", "names": b"cab\ncd\n", "storages": b"NQ", "numbers": b"M\x01\x22", "bytes": b"C\x05abcde",
    "long numbers": b"\x8a\x0a0123456789", "nested": b"\x85", "in itself": b"]\x94h\x00a", "states": b"N)RNb",
    "entries": b"N)RNNs", "marks": b"(",
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_no_step_takes_more_memory_than_is_claimed(step: bytes) -> None:
    program = PROTOCOL + b"]\x94" + step * 10_000 + b"N."
    claimed = [pickles.TEXT * len(program)]
    tracemalloc.start()
    try:
        pickles.read_pickle(io.BytesIO(program), len(program), claimed.append)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < sum(claimed) + 2**17


CLAIMS = {
    "steps": b"(" + b"]" * 3_000 + b"t",
    "text": text("x" * 2**16),
    "objects": name("a", "b") + b"q\x00(" + b"h\x00" * 1_000 + b"t",
    "tensors": tensor([1], [1]) + b"q\x00(" + b"h\x00" * 1_000 + b"t",
}


@pytest.mark.parametrize("steps", CLAIMS.values(), ids=CLAIMS)
def test_all_that_a_pickle_makes_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: bytes) -> None:
    """Twenty times in a list, it takes more than is allowed, but once not; a file that stores so much may take it."""
    for count, method, stored in ((1, 8, 0), (20, 8, 0), (20, 0, 2**20)):
        data = archive(PROTOCOL + b"](" + steps * count + b"e.", {"data/0": bytes(96 + stored)}, method)
        (tmp_path / f"{count}-{method}.pt").write_bytes(data)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "4M")
    for name_ in ("1-8.pt", "20-0.pt"):
        open_tensors(tmp_path / name_).close()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"takes .* MB of memory, with .* stored; at most 4.2 MB unless"):
            open_tensors(tmp_path / "20-8.pt")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_text_of_gigabytes_in_a_hole_of_a_file(tmp_path: Path) -> None:
    whole = legacy(PROTOCOL + b"}.", {})
    with (tmp_path / "x.pt").open("wb") as file:
        file.write(whole[: whole.rindex(b"}.")] + b"\x8d" + (2**33).to_bytes(8, "little"))
        file.truncate(2**33 + 200)
    if (tmp_path / "x.pt").stat().st_blocks * 512 > 2**20:
        pytest.skip("the file system has no sparse files")
    with pytest.raises(FormatError, match=r"takes 43 GB of memory, with .* kB stored"):
        open_tensors(tmp_path / "x.pt")
