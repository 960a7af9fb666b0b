"""What was verified is what is shown and given, also where the files are swapped for others meanwhile."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import swapping
from signing import sign, write_public_key
from swapping import WAYS, Swap, contents

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.core.errors import FileError, FormatError
from portable_nn.opening import kinds

SWEEP = 500


def network(path: Path, units: int) -> None:
    pnn.Sequential(pnn.Input(3), pnn.Dense(units), seed=units).save(path)


def arrays(path: Path, count: int) -> None:
    if path.suffix == ".npz":
        np.savez(path, a=np.arange(count))
    else:
        np.save(path, np.arange(count))


def model(path: Path, width: int, **external: Any) -> None:
    """An ONNX file of which the weights, or all, differ."""
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, ["N", 4])],
            [onnx.helper.make_tensor_value_info("y", 1, ["N", width])],
            [onnx.numpy_helper.from_array(np.full((4, width), width, np.float32), "w")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save_model(made, path, size_threshold=0, **external)


def model_beside(path: Path, width: int) -> None:
    model(path, width, save_as_external_data=True, location="w.bin")


KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "weights in safetensors": ("m.safetensors", network),
    "weights in npz": ("m.npz", network),
    "weights in HDF5": ("m.h5", network),
    "arrays in npy": ("m.npy", arrays),
    "arrays in npz": ("m.npz", arrays),
    "ONNX": ("m.onnx", model),
    "ONNX with weights beside": ("m.onnx", model_beside),
}


class Case:
    """A signed model in a folder, and what may take its place."""

    def __init__(self, kind: str, tmp_path: Path) -> None:
        name, make = KINDS[kind]
        self.folder, self.right, self.other = (tmp_path / each for each in ("model", "right", "other"))
        for folder, size in ((self.right, 5), (self.other, 7)):
            folder.mkdir()
            make(folder / name, size)
        shutil.copytree(self.right, self.folder)
        self.path = self.folder / name
        what = self.folder if len(contents(self.folder)) > 1 else self.path
        self.signature = sign(what, tmp_path / "its.sig")
        self.key = write_public_key(tmp_path / "key.pub")
        self.expected = contents(self.right)
        self.shown = self._shown(["inspect", str(self.path), "--format", "json"])[1]
        assert self.expected != contents(self.other)

    def _shown(self, words: list[str]) -> tuple[int, Any]:
        out = self.folder.with_name("out.json")
        code = main([*words, "--out", str(out), "--force", "--quiet"])
        found = json.loads(out.read_text()) if out.exists() else None
        out.unlink(missing_ok=True)
        if found:
            del found["signed"], found["unsigned"], found["file"]["signature"]
        return code, found

    def is_shown(self) -> bool:
        """Whether the command shows the model; never another one."""
        words = ["inspect", str(self.path), "--format", "json", "--verify-signature", str(self.signature)]
        code, found = self._shown([*words, "--signer", str(self.key)])
        assert (code, found) in [(0, self.shown), (3, None)]
        return code == 0

    def is_given(self) -> bool:
        """Whether the function gives the model; never another one."""
        try:
            with pnn.verified_copy(self.path, self.signature, public_key=self.key) as found:
                there = contents(found.path.parent)
        except FileError as error:
            if not str(error).startswith((str(self.folder), str(self.signature))):
                raise
            return False
        assert there == self.expected
        return True

    def is_computed(self) -> bool:
        """Whether the command computes what the model with its digest does; never what another one does."""
        rows, out = self.folder.with_name("rows.npy"), self.folder.with_name("out.npz")
        if not rows.exists():
            found = pnn.inspect(self.path)
            assert found.file
            self.digest = found.digest or found.file.sha256
            np.save(rows, np.eye(4 if self.path.suffix == ".onnx" else 3, dtype=np.float32))
            assert main(["predict", str(self.path), str(rows), "--out", str(out), "--quiet"]) == 0
            self.computed = out.read_bytes()
            out.unlink()
        code = main(["predict", str(self.path), str(rows), "--out", str(out), "--quiet", "--digest", self.digest])
        assert code == (0 if out.exists() else 3)
        if out.exists():
            assert out.read_bytes() == self.computed
            out.unlink()
        return code == 0


_at_open: list[Callable[[str], None]] = []
sys.addaudithook(lambda event, found: _at_open and event == "open" and _at_open[-1](str(found[0])))


@contextmanager
def at_opening(case: Case, first: int, last: int, swap: Swap) -> Iterator[list[str]]:
    """Put the other files there before the ``first`` opening of one of them, and the right ones before the ``last``."""
    opened = list[str]()

    def note(path: str) -> None:
        if path.startswith(str(case.folder)):
            _at_open.append(lambda _: None)
            if len(opened) in (first, last):
                swap(case.other if len(opened) == first else case.right, case.folder)
            _at_open.pop()
            opened.append(path)

    _at_open.append(note)
    try:
        yield opened
    finally:
        _at_open.remove(note)
        WAYS["renaming"](case.right, case.folder)


VERIFIED = [(kind, verified) for kind in KINDS for verified in (Case.is_shown, Case.is_given)]
VERIFIED += [(kind, Case.is_computed) for kind in KINDS if kind.startswith("weights") or kind == "ONNX"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "verified"),
    [
        pytest.param(
            kind, each, id=f"{kind} {each.__name__}", marks=[pytest.mark.long] if each is Case.is_computed else []
        )
        for kind, each in VERIFIED
    ],
)
def test_at_whichever_opening_files_are_swapped_nothing_else_is_verified(
    kind: str, way: str, verified: Callable[[Case], bool], tmp_path: Path
) -> None:
    case = Case(kind, tmp_path)
    with at_opening(case, -1, -1, WAYS[way]) as opened:
        assert verified(case)
    found = set[bool]()
    for first in range(len(opened)):
        for last in (first + 1, -1):
            with at_opening(case, first, last, WAYS[way]):
                found.add(verified(case))
    assert False in found


@pytest.mark.parametrize(
    "count", [pytest.param(20, marks=pytest.mark.long), pytest.param(SWEEP, marks=pytest.mark.sweep)]
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["weights in safetensors", "ONNX with weights beside"])
def test_while_another_process_swaps_files_nothing_else_is_verified(
    kind: str, way: str, count: int, tmp_path: Path
) -> None:
    case = Case(kind, tmp_path)
    command = [sys.executable, swapping.__file__, str(count), str(case.folder), str(case.other), way]
    swapper = subprocess.Popen(command)
    try:
        found = [verified() for _ in range(count // 2) for verified in (case.is_shown, case.is_given)]
    finally:
        swapper.kill()
        swapper.wait()
    print(f"{found.count(True)} of {count} were verified")
    WAYS["renaming"](case.right, case.folder)
    assert case.is_shown()
    assert case.is_given()


def test_a_copy_is_what_was_signed_whatever_becomes_of_the_model(tmp_path: Path) -> None:
    case = Case("ONNX with weights beside", tmp_path)
    with pnn.verified_copy(case.path, case.signature, public_key=case.key) as found:
        shutil.rmtree(case.folder)
        assert found.signed == f"signed with the key of {case.key}"
        assert found.path.parent.stat().st_mode & 0o77 == 0
        [weights] = onnx.load(found.path).graph.initializer
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(weights), np.full((4, 5), 5))
    assert not found.path.parent.exists()


def test_errors_name_the_model_and_not_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("arrays in npz", tmp_path)
    case.path.write_bytes(b"PK\3\4 is no archive")
    sign(case.path, case.signature)
    monkeypatch.chdir(tmp_path)
    shown = case.path.relative_to(tmp_path)
    with pnn.verified_copy(shown, case.signature, public_key=case.key) as found, pytest.raises(FormatError) as inner:
        pnn.inspect(found.path)
    assert inner.value.path == str(found.path)

    def inspect() -> None:
        with pnn.verified_copy(shown, case.signature, public_key=case.key) as found:
            pnn.inspect(found.path)

    with pytest.raises(FormatError, match=rf"^{shown}: ") as outer:
        inspect()
    assert outer.value.path == str(shown)
    assert "tmp" not in outer.value.reason


def test_a_copy_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    case = Case("arrays in npy", tmp_path)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    copying = pnn.verified_copy(case.path, case.signature, public_key=case.key)
    with (
        pytest.raises(FileError, match=r"m.npy: cannot be copied to .* \(TMPDIR names another\): No space left"),
        copying,
    ):
        raise AssertionError
    assert pnn.verify_signature(case.path, case.signature, public_key=case.key)  # Nothing is copied for that.


def test_the_bytes_that_have_a_digest_are_those_that_a_converter_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.theirs"
    path.write_bytes(b"right")
    really = kinds.expected_bytes

    def swapped(path: Path, digest: str) -> bytes:
        data = really(path, digest)
        path.write_bytes(b"other")
        return data

    def read(path: Path, **_: object) -> SimpleNamespace:
        return SimpleNamespace(network=path.read_bytes())

    monkeypatch.setattr(kinds, "expected_bytes", swapped)
    monkeypatch.setattr("portable_nn.converters.registry.reader_of", lambda path: (None, read))
    found: Any = kinds.ForeignFile(path, digest=hashlib.sha256(b"right").hexdigest()).network
    assert found == b"right"
