"""Files of ``torch.save``, read without PyTorch: the arrays are those that PyTorch reads, and nothing is run."""

from __future__ import annotations

import contextlib
import enum
import os
import pickle
import random
import tracemalloc
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import changes

from portable_nn.core.errors import FormatError, PortableNNError, UnsupportedError
from portable_nn.plain import open_tensors, pytorch

torch = pytest.importorskip("torch", reason="PyTorch writes the files")


def read(path: Path) -> dict[str, np.ndarray]:
    with open_tensors(path) as found:
        return {name: found[name] for name in found}


def module() -> Any:
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))


FORMS = {"archive": {}, "of before 1.6": {"_use_new_zipfile_serialization": False}}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("what", ["weights", "module", "checkpoint"])
def test_the_arrays_are_those_that_pytorch_has(tmp_path: Path, what: str, options: dict[str, Any]) -> None:
    net = module()
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3, 4, 4)).sum().backward()
    adam.step()
    checkpoint = {"epoch": 3, "model": net.state_dict(), "optimizer": adam.state_dict(), "note": "x", "best": [0.5]}
    torch.save(
        {"weights": net.state_dict(), "module": net, "checkpoint": checkpoint}[what], tmp_path / "x.pt", **options
    )
    found, prefix = read(tmp_path / "x.pt"), "model." if what == "checkpoint" else ""
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(found.pop(prefix + name), value.numpy(), strict=True)
    expected = {f"optimizer.state.{n}.{key}" for n in range(6) for key in ("step", "exp_avg", "exp_avg_sq")}
    assert set(found) == (expected if prefix else set())


class Kind(enum.Enum):
    ROUND = 1


@dataclass
class Settings:
    rate: float = 0.1


class Settled(tuple[int, ...]):
    """Its pickle names its arguments by keyword."""

    def __getnewargs_ex__(self) -> Any:
        return (), {}


def settled() -> dict[str, Any]:
    """What people save beside weights."""
    shared, net = torch.arange(6.0).reshape(2, 3), module()
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3, 4, 4)).sum().backward()
    adam.step()
    steps = [
        torch.optim.lr_scheduler.MultiStepLR(adam, [2, 4]),
        torch.optim.lr_scheduler.ReduceLROnPlateau(adam),
        torch.optim.lr_scheduler.CosineAnnealingLR(adam, 9),
    ]
    marked = torch.nn.Parameter(torch.ones(3))
    marked.parallel = True
    endless = [1]
    endless.append(endless)
    return {
        "a whole training": {
            "model": net.state_dict(),
            "optimizer": adam.state_dict(),
            "schedulers": [each.state_dict() for each in steps],
            "losses": [0.5, None, np.float64(0.25), -3, 10**40],
            "random": (torch.get_rng_state(), np.random.get_state(), random.getstate()),
            "settings": Settings(),
            "optimizer itself": adam,
        },
        "containers": {
            "tuple": (shared, [shared[0]], {"x": {"y": shared.T}}),
            "sets": [{1, "a"}, frozenset("ab")],
            "deque": deque([0.5, 1], maxlen=9),
            "defaults": defaultdict(list, {"a": [torch.ones(1)]}),
            "counter": Counter("aab"),
            "ordered": OrderedDict([("b", torch.zeros(1)), ("a", torch.ones(1))]),
            "empty": [{}, [], (), set()],
        },
        "keys": {0: torch.ones(1), -1: torch.ones(2), None: torch.ones(3), 0.5: torch.ones(4), "x.y": torch.ones(5)},
        "keys without names": {"w": shared, (1, "a"): 2, Kind.ROUND: 3, torch.float32: 4, b"x": 5, 2**70: 6},
        "values": {
            "w": shared,
            "numpy": (np.arange(3), np.array(["a"]), np.array([None]), np.dtype("f4")),
            "python": (b"x", bytearray(b"y"), 1j, range(3), Path("a"), Kind.ROUND, Kind, len, partial(len), Settled()),
            "torch": (torch.float32, torch.device("cpu"), torch.Size([1])),
        },
        "parameters": [torch.nn.Parameter(shared), marked, shared.requires_grad_()],
        "a tensor": shared,
        "behind what is passed over": {
            "sparse": torch.eye(3).double().to_sparse(),
            "conjugate": torch.tensor([1 + 2j]).conj(),
            "negative": torch.tensor([1 + 2j]).conj().imag,
            "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint32),
            "w": shared,
            "half": torch.ones(3).half(),
            "brain": torch.full((3,), 1.5).bfloat16(),
        },
    }


def tensors_in(value: Any, name: str = "") -> dict[str, Any]:
    """The plain tensors in what PyTorch loads."""
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        plain = not (value.is_sparse or value.is_quantized or value.is_conj() or value.is_neg())
        return {name or "(the file)": value} if plain else {}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if type(value) in (list, tuple) else ()
    return {
        n: each for key, part in parts for n, each in tensors_in(part, f"{name}.{key}" if name else str(key)).items()
    }


@pytest.mark.filterwarnings("ignore:TypedStorage", "ignore:torch.quantize")
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "what",
    [
        "a whole training",
        "containers",
        "keys",
        "keys without names",
        "values",
        "parameters",
        "a tensor",
        "behind what is passed over",
    ],
)
def test_all_tensors_in_what_people_save_are_read(
    tmp_path: Path, what: str, protocol: int, options: dict[str, Any]
) -> None:
    torch.save(settled()[what], tmp_path / "x.pt", pickle_protocol=protocol, **options)
    expected = tensors_in(torch.load(tmp_path / "x.pt", weights_only=False))
    found = read(tmp_path / "x.pt")
    assert expected
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        plain = (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        np.testing.assert_array_equal(found[name], plain, strict=True)


BASE = torch.arange(64.0)
TENSORS = st.builds(
    lambda dtype, start, shape: BASE.to(dtype)[start : start + 12].reshape(shape),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]),
    st.integers(0, 9),
    st.sampled_from([(12,), (3, 4), (2, 3, 2), (1, 12, 1)]),
) | st.sampled_from([BASE, BASE[::3], BASE[:6].reshape(2, 3).T, BASE[0], BASE[:0], BASE[:1].expand(4)])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
NAMES = st.text("abcä", min_size=1, max_size=3) | st.integers(-9, 2**40) | st.none()


def containers(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    dicts = st.dictionaries(NAMES, parts, max_size=4)
    made = (
        st.builds(OrderedDict, dicts) | st.builds(deque, st.lists(SCALARS, max_size=3)) | st.sets(SCALARS, max_size=3)
    )
    return dicts | st.lists(parts, max_size=4) | st.lists(parts, max_size=3).map(tuple) | made


@pytest.mark.long
@settings(max_examples=500, deadline=None)
@given(
    st.recursive(TENSORS | TENSORS | SCALARS, containers, max_leaves=12),
    st.sampled_from([1, 2, 3, 4, 5]),
    st.booleans(),
)
def test_all_tensors_in_any_containers_are_read(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int, zipped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pt"
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read(path)
    expected = tensors_in(torch.load(path, weights_only=False))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        plain = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        np.testing.assert_array_equal(found[name], plain, strict=True)


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_an_array_belongs_to_the_caller(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "x.pt", **options)
    with open_tensors(tmp_path / "x.pt") as found:
        found["w"][...] = 0
        assert found["w"].tolist() == [1, 1, 1]


def test_views_types_and_what_numpy_lacks(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tied = torch.nn.Parameter(base)
    kept = {
        "turned": base.T[1:3],
        "part": base[1:, ::2],
        "wide": torch.zeros(1).expand(5, 7),
        "number": torch.tensor(3.5),
        "none": torch.zeros(0, 4),
        "half": torch.tensor([0.1, 65504]).half(),
        "brain": torch.tensor([1.5, -3e38]).bfloat16(),
        "bool": torch.tensor([True, False]),
        "small": torch.tensor([-3], dtype=torch.int8),
        "unsigned": torch.tensor([60000], dtype=torch.uint16),
        "complex": torch.tensor([1 + 2j]),
        "one": tied,
        "two": tied,
    }
    torch.save(kept | {"eight": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "x.pth")
    with open_tensors(tmp_path / "x.pth") as found:
        for name, value in kept.items():
            expected = (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
            np.testing.assert_array_equal(found[name], expected, strict=True)
            assert found.entries[name].shape == tuple(value.shape)
        with pytest.raises(UnsupportedError, match="'eight' is float8_e4m3fn, which numpy does not have"):
            found["eight"]
        assert found.notes == ("bfloat16 is read as float32, which loses nothing",)


class Evil:
    """An object whose pickle runs a program."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_nothing_in_a_file_is_run(tmp_path: Path, options: dict[str, Any]) -> None:
    ran = tmp_path / "ran"
    evil = Evil(os.system, f"touch {ran}")
    torch.save(OrderedDict(weight=torch.ones(2), a=evil, b=Evil(eval, "1/0")), tmp_path / "x.pt", **options)
    with open_tensors(tmp_path / "x.pt") as found:
        assert list(found) == ["weight"]
        assert found.skipped == {
            "a": f"is an object of {os.system.__module__}.system, and no tensor",
            "b": "is an object of __builtin__.eval, and no tensor",
        }
    assert not ran.exists()


def archive(pickled: bytes, **members: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in {"data.pkl": pickled, **members}.items():
            made.writestr(f"x/{name}", data)
    return file.getvalue()


NESTED = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n, n - 1, n - 1) for n in range(1, 60)) + b"."
"""A list of two of a list of two of …, sixty times, in some hundred bytes."""
ITSELF = b"\x80\x02]q\x00h\x00a."


@pytest.mark.long
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x80\x02}.", "is a Python pickle"),
        (b"PK\x03\x04 and nothing else", "the archive is damaged"),
        (archive(b""), "its pickle is damaged"),
        (archive(b"\x80\x02K"), "its pickle is damaged"),
        (archive(b"\x80\x02a."), "APPEND does not fit what is before it"),
        (archive(b"\x80\x02h\x07."), "BINGET does not fit what is before it"),
        (archive(b"\x80\x02(K\x01i__main__\nx\n."), "the opcode INST, which weights do not need"),
        (archive(b"\x80\x02}(K\x01u."), "its pickle is damaged"),
        (archive(NESTED), "is nested too deeply, or in itself"),
        (archive(ITSELF), "is nested too deeply, or in itself"),
        (archive(b"\x80\x02L" + b"9" * 10_000 + b"L\n."), "its pickle is damaged"),
    ],
)  # fmt: skip
def test_hostile_pickles(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        open_tensors(tmp_path / "x.pt")


def tensor(count: int, offset: Any, shape: Any, strides: Any, key: str = "0") -> bytes:
    """The pickle of a dict of one tensor, as PyTorch writes it."""

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", count) if value is Held else None

    class Held: ...

    call = Evil(torch._utils._rebuild_tensor_v2, Held, offset, shape, strides, False, OrderedDict())
    file = BytesIO()
    Writer(file, 2).dump({"w": call})
    return file.getvalue()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (tensor(4, 0, (2, 3), (3, 1)), "'w' ends at byte 24 of storage '0', which has 16"),
        (tensor(4, 3, (2,), (1,)), "'w' ends at byte 20 of storage '0'"),
        (tensor(4, 0, (2,), (2**62,)), "of storage '0', which has 16"),
        (tensor(4, 0, (2**62, 2**62), (0, 0)), "a shape that no memory can hold"),
        (tensor(4, 0, (4,), (1,), key="9"), "is in storage '9', which is missing"),
    ],
)
def test_tensors_that_are_not_in_their_storage(tmp_path: Path, pickled: bytes, message: str) -> None:
    (tmp_path / "x.pt").write_bytes(archive(pickled, **{"data/0": bytes(16)}))
    with pytest.raises(FormatError, match=message):
        open_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(-1, (2,), (1,)), (0, (-2,), (1,)), (0, (2,), (-1,)), (0, [2], (1,)), (0, (2,), (1, 1))],
)
def test_tensors_of_impossible_places_are_none(tmp_path: Path, offset: Any, shape: Any, strides: Any) -> None:
    (tmp_path / "x.pt").write_bytes(archive(tensor(4, offset, shape, strides), **{"data/0": bytes(16)}))
    with open_tensors(tmp_path / "x.pt") as found:
        assert (list(found), found.skipped) == ([], {"w": "is a tensor of a kind that is not known"})


def test_a_view_that_claims_far_more_than_is_stored(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(2**20, 2**10)}, tmp_path / "x.pt")
    with open_tensors(tmp_path / "x.pt") as found, pytest.raises(FormatError, match=r"4\.\d+ GB"):
        found["w"]


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_a_file_that_is_cut_off(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.save(module().state_dict(), tmp_path / "x.pt", **options)
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: len(data) - 600])
    with pytest.raises(FormatError):
        read(tmp_path / "x.pt")


def saved(**options: Any) -> bytes:
    file = BytesIO()
    torch.save(module().state_dict(), file, **options)
    return file.getvalue()


SAVED = [saved(**options) for options in FORMS.values()]
WORDS = [
    b"K\xff",
    b"cos\nsystem\n",
    b"R",
    b"}",
    b"(",
    b"u",
    b"e",
    b"\x8a\xff",
    b"X\xff\xff\xff\x7f",
    b"h\x00",
    b"q\x00",
]


@pytest.mark.parametrize("opcode", [b"\x8a", b"\x8b", b"\x8d", b"\x8e", b"\x96", b"B", b"X", b"T"])
def test_a_count_of_bytes_that_are_not_there_takes_no_memory(tmp_path: Path, opcode: bytes) -> None:
    """One flipped bit makes an opcode such as BYTEARRAY8, whose count are the eight bytes that follow."""
    legacy, path = next(each for each in SAVED if each.startswith(b"\x80")), tmp_path / "damaged.pt"
    place = legacy.index(b"}")
    tracemalloc.start()
    try:
        for count in (2**63 - 1, 2**31 - 1):  # Some counts have four bytes.
            path.write_bytes(legacy[:place] + opcode + count.to_bytes(8, "little") + legacy[place:])
            with pytest.raises(PortableNNError):
                read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SAVED), changes(WORDS))
def test_damage_is_an_error_or_other_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, change: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(change(data))
    try:
        with contextlib.suppress(PortableNNError):
            read(path)
    finally:
        path.unlink()


def laughs(step: Any) -> bytes:
    """A pickle of 60 containers, each of which has the one before it twice."""
    data = b"\x80\x02]q\x00"
    for place in range(1, 60):
        data += step(bytes([place - 1]), bytes([place]))
    return data + b"."


LAUGHS = {
    "lists": laughs(lambda before, own: b"]q" + own + (b"h" + before + b"a") * 2),
    "tuples": laughs(lambda before, own: b"(h" + before + b"h" + before + b"tq" + own),
}


@pytest.mark.parametrize("data", LAUGHS.values(), ids=LAUGHS)
def test_a_list_of_one_list_twice_and_so_on_ends_early(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(data) < 700
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/version", "3")
    looked, inside = [0], pytorch._inside

    def counted(value: Any) -> Any:
        looked[0] += 1
        return inside(value)

    monkeypatch.setattr(pytorch, "_inside", counted)
    with pytest.raises(FormatError, match="is nested too deeply, or in itself"):
        open_tensors(tmp_path / "x.pt")
    assert looked[0] < 100_000


def test_a_storage_is_read_once_for_all_tensors_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = torch.arange(6.0), torch.arange(8).double()
    kept = {f"{place}": (one, two)[place % 2][place // 2 :] for place in range(12)}
    torch.save(kept, tmp_path / "x.pt")
    unpack, unpacked = zlib.crc32, list[int]()
    monkeypatch.setattr(pytorch.zlib, "crc32", lambda data: unpacked.append(len(data)) or unpack(data))
    with open_tensors(tmp_path / "x.pt") as found:
        for name, value in kept.items():
            np.testing.assert_array_equal(found[name], value.numpy(), strict=True)
        assert unpacked == [6 * 4, 8 * 8]
        np.testing.assert_array_equal(found["3"], kept["3"].numpy(), strict=True)
