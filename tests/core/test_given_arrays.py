"""Whatever is given in place of an array: the right answer, or an error that names it and the call that makes one."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.arrays import as_array, cast
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.format import save

X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
MASKED = np.ma.masked_array(X, mask=np.arange(32).reshape(8, 4) % 11 == 6)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
RECORDS = np.zeros(8, [("a", "f4"), ("b", "f4")])


def network() -> pnn.Network:
    return pnn.Sequential(pnn.Input(4), pnn.Dense(4, name="d"), seed=0)


class Refusing:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("it is on another machine")


def of_torch(change: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: change(pytest.importorskip("torch").tensor(X))


def of_pandas(change: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: change(pytest.importorskip("pandas").DataFrame(X, columns=list("abcd")))


def of_scipy(kind: str) -> Callable[[], Any]:
    return lambda: getattr(pytest.importorskip("scipy.sparse"), kind)(X)


def picture(*, several: bool = False) -> Callable[[], Any]:
    def made() -> Any:
        one = pytest.importorskip("PIL.Image").new("L", (4, 1))
        return [one] if several else one

    return made


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "masked values": (lambda: MASKED, "[1, 2] is the first of 3 masked values, which say nothing: fill them"),
    "rows with masks": (lambda: list(MASKED), " has masked values, which say nothing"),
    "rows with masks in lists": (lambda: [[MASKED[0], MASKED[1]]], " has masked values, which say nothing"),
    "np.ma.masked": (lambda: [[1.0, 2, 3, 4], [1, 2, np.ma.masked, 4]], " has masked values, which say nothing"),
    "ragged": (lambda: [[1, 2], [3]], " must be an array of numbers, with as many in each row, not [[1, 2], [3]]"),
    "None": (lambda: None, " must be an array of numbers, not None of type NoneType"),
    "a gap": (lambda: [[1, None, 3, 4]], " must be an array of numbers, but holds None of type NoneType at [0, 1]"),
    "names": (lambda: ["Mr. Cat", "2.5 dogs"], "np.unique({x}, return_inverse=True)[1] numbers words from 0"),
    "text": (lambda: ["cat", "dog"], "np.unique({x}, return_inverse=True)[1] numbers words from 0"),
    "StringDType": (lambda: np.array(["a"], np.dtypes.StringDType()), " but holds text such as 'a': np.unique"),
    "numbers as text": (lambda: [["1", "2.5"]], " but holds numbers as text, such as '1': np.array({x}, np.float64)"),
    "bytes as text": (lambda: np.array([[b"1"]]), " but holds numbers as text, such as '1': np.array({x}, np.float64)"),
    "object numbers": (lambda: X.astype(object), " but holds numbers as Python objects: np.array({x}, np.float64)"),
    "decimals": (lambda: [[decimal.Decimal(1)]], " but holds numbers as Python objects: np.array({x}, np.float64)"),
    "huge": (lambda: [[10**400, 1]], "… of type int at [0, 0]: put a number there"),
    "dates": (lambda: np.zeros((8, 4), "M8[s]"), " but holds dates: ({x} - {x}.min()) / np.timedelta64(1, 'D') is a"),
    "datetimes": (lambda: [[datetime.date(2000, 1, 1)]], " but holds datetime.date(2000, 1, 1) of type date at [0, 0]"),
    "durations": (lambda: np.zeros((8, 4), "m8[s]"), " but holds durations: {x} / np.timedelta64(1, 's') is a num"),
    "complex": (lambda: X + 1j, " but holds complex numbers: np.abs({x}), {x}.real and {x}.imag are real"),
    "records": (lambda: RECORDS, " but holds records: np.lib.recfunctions.structured_to_unstructured({x})"),
    "recarray": (lambda: RECORDS.view(np.recarray), "np.lib.recfunctions.structured_to_unstructured({x})"),
    "a path": (lambda: Path("x.csv"), " not a path: pnn.prepare(network, path) makes examples of a file"),
    "paths": (lambda: ["x.csv"], " not a list that begins with a path: pnn.prepare(network, path)"),
    "a picture": (picture(), " not a picture: pnn.prepare(network, picture) makes examples of pictures"),
    "pictures": (picture(several=True), " not a list that begins with a picture: pnn.prepare(network, picture)"),
    "a picture's bytes": (lambda: PNG, " not the bytes of a picture: pnn.predict and pnn.prepare take the picture"),
    "a picture's file": (lambda: io.BytesIO(PNG), " not the file of a picture: pnn.predict and pnn.prepare take the "),
    "a file": (lambda: io.BytesIO(b"x"), " not an open file: np.load(path) and pnn.prepare(network, path) read files"),
    "a generator": (lambda: (row for row in X), " not an iterator: np.stack(list({x})) is an array of what it yields"),
    "a set": (lambda: {1, 2}, " not a set, which has no order: give a list"),
    "keys": (lambda: {1: 2}.keys(), " not a set, which has no order: give a list"),
    "bytes": (lambda: b"abcd", " not bytes: np.frombuffer({x}, np.uint8) is an array of them"),
    "rows by name": (lambda: [{"a": 1}], "np.array([list(each.values()) for each in {x}]) has a row of each"),
    "a function": (lambda: len, " must be an array of numbers, not <built-in function len> of type"),
    "a symbol": (lambda: pnn.Input(4), " must be an array of numbers, not <'input' (input): float32 (batch, 4)>"),
    "a network": (network, " must be an array of numbers, not Network 'network': 1 node"),
    "no __array__": (Refusing, " and this Refusing does not become one (it is on another machine)"),
    "too large": (lambda: np.full((8, 4), 1e300), "[0, 0] is 1e+300, which float32 cannot hold"),
    "sparse matrix": (of_scipy("csr_matrix"), " not a sparse matrix: {x}.toarray() is an array"),
    "sparse array": (of_scipy("coo_array"), " not a sparse matrix: {x}.toarray() is an array"),
    "table of text": (of_pandas(lambda df: df.assign(b="tall")), "holds text such as 'tall': np.unique("),
    "categories": (of_pandas(lambda df: df["a"].astype(str).astype("category")), "holds numbers as text, such as '"),
    "requires_grad": (of_torch(lambda x: x.requires_grad_()), ": x.detach().to_dense().cpu().float().numpy() is one"),
    "list of such": (of_torch(lambda x: list(x.requires_grad_())), ": x.detach().to_dense().cpu().float().numpy() is"),
    "bfloat16": (of_torch(lambda x: x.bfloat16()), ": x.detach().to_dense().cpu().float().numpy() is one"),
    "sparse tensor": (of_torch(lambda x: x.to_sparse()), ": x.detach().to_dense().cpu().float().numpy() is one"),
    "meta tensor": (of_torch(lambda x: x.to("meta")), " must be an array of numbers, and this tensor is none ("),
}  # fmt: skip

SAME: dict[str, Callable[[], Any]] = {
    "lists": X.tolist,
    "tuples": lambda: tuple(map(tuple, X)),
    "list of arrays": lambda: list(X),
    "deque": lambda: collections.deque(X.tolist()),
    "memoryview": lambda: memoryview(X),  # type: ignore[arg-type]
    "array.array": lambda: [array.array("f", row) for row in X.tolist()],
    "matrix": lambda: X.view(np.matrix),
    "masked, but nothing": lambda: np.ma.masked_array(X),
    "big-endian": lambda: X.astype(">f4"),
    "double": lambda: X.astype("f8"),
    "long double": lambda: X.astype("g"),
    "column-major": lambda: np.asfortranarray(X),
    "every other": lambda: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda: X[::-1].copy()[::-1],
    "read-only": lambda: np.broadcast_to(X, X.shape),
    "tensor": of_torch(lambda x: x),
    "tensors": of_torch(list),
    "table": of_pandas(lambda df: df),
    "table that may have gaps": of_pandas(lambda df: df.astype({"a": "Float32"})),
    "table of objects": of_pandas(lambda df: df.astype(object)),
}


def fitted(x: Any, y: Any, **options: Any) -> Any:
    return network().fit(x, y, loss="mean_squared_error", epochs=1, **options)


WAYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "fit x": ("x", lambda x: fitted(x, X)),
    "fit y": ("y", lambda x: fitted(X, x)),
    "validation": ("x", lambda x: fitted(X, X, validation=(x, X))),
    "sample_weight": ("sample_weight", lambda x: fitted(X, X, sample_weight=x)),
    "predict": ("x", lambda x: network().predict(x)),
    "session": ("x", lambda x: network().session(engine="numpy").predict(x)),
    "pnn.predict": ("inputs", lambda x: list(pnn.predict(network(), x, engine="numpy"))),
    "pnn.prepare": ("inputs", lambda x: pnn.prepare(network(), x)),
    "adapt": ("x", lambda x: pnn.Normalization().adapt(x)),
    "load_weights": ("x", lambda x: network().load_weights({"d.weight": x, "d.bias": np.zeros(4)})),
    "initial": ("x", lambda x: pnn.Sequential(pnn.Input(4), pnn.Dense(8, weight_initial=x))),
}
TAKES_MORE = {"pnn.predict", "pnn.prepare", "initial", "predict", "session"}
"""These take paths, pictures, tables or functions as well, or name the function that does."""
OTHER_WORDS = {"text", "names", "a path", "paths", "a picture", "pictures", "table of text", "a network", "too large"}


@pytest.mark.filterwarnings("ignore:.*converting a masked element")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_array_of_numbers_is_named_everywhere(name: str) -> None:
    make, message = REFUSED[name]
    for way, (called, call) in WAYS.items():
        if name in {"None", "a function", "a network"} and way in {"sample_weight", "initial"}:
            continue  # These take it.
        if name == "None" and way == "fit y":
            continue  # Then x gives batches: tests/training.
        with pytest.raises(PortableNNError) as caught:
            call(make())
        if way not in TAKES_MORE or name not in OTHER_WORDS:
            assert message.format(x=called) in str(caught.value) or name == "too large", way


@pytest.mark.filterwarnings("ignore:.*converting a masked element")
@pytest.mark.parametrize("name", REFUSED)
def test_the_message_of_each(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UsageError, match=re.escape(message.format(x="y"))):
        as_array(make(), "y", "float32")


@pytest.mark.parametrize("name", SAME)
def test_what_is_an_array_of_numbers_gives_the_same(name: str) -> None:
    net, given = network(), SAME[name]()
    expected = X @ net.parameters["d.weight"].T + net.parameters["d.bias"]
    if not name.startswith("table"):  # ``predict`` of a network leaves these to ``pnn.predict``.
        np.testing.assert_allclose(net.predict(given), expected, rtol=1e-5, atol=1e-6)
    rows = [prediction.values for prediction in pnn.predict(net, given, engine="numpy")]
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(as_array(given, "x", "float32"), X)
    assert fitted(given, X).rows == fitted(X, X).rows == fitted(X, given).rows
    adapted = pnn.Sequential(pnn.Input(4), pnn.Normalization(name="n").adapt(given))
    np.testing.assert_allclose(adapted.parameters["n.mean"], X.mean(0, dtype="f8"), rtol=1e-6)


def test_a_masked_weight_is_not_saved(tmp_path: Path) -> None:
    net = network()
    arrays = {"d.weight": np.ma.masked_greater(net.parameters["d.weight"], 0), "d.bias": np.zeros(4, "f4")}
    with pytest.raises(UsageError, match=r"^tensor 'd.weight'\[\d, \d\] is the first of \d+ masked values"):
        save(tmp_path / "a.safetensors", net.manifest(hashed=False), arrays)
    assert not any(tmp_path.iterdir())


def test_an_array_is_returned_as_it_is() -> None:
    assert as_array(X, "x") is X
    assert as_array(X, "x", "float32") is X
    assert cast(np.array([np.inf]), "float16", "x").tolist() == [np.inf]
    with pytest.raises(UsageError, match=r"^x\[1\] is 70000, which float16 cannot hold$"):
        cast(np.array([1, 70000]), "float16", "x")


def test_all_tensors_that_are_none_are_listed() -> None:
    with pytest.raises(PortableNNError) as caught:
        network().load_weights({"d.weight": MASKED[:4], "d.bias": "zeros"})
    assert str(caught.value) == (
        "the weights do not fit this network: 2 faults\n"
        "  tensor 'd.weight'[1, 2] is the first of 1 masked values, which say nothing: fill them with numbers, as "
        "x.filled(0) does, or leave these examples out\n"
        "  tensor 'd.bias' must be an array of numbers, not a path: pnn.prepare(network, path) makes examples of "
        "a file"
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float4_e2m1fn", "int4", "uint4", "int2"])
def test_arrays_of_types_that_numpy_lacks_are_held_in_wider_ones(dtype: str) -> None:
    """As JAX has them."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = np.array([[0, 1], [1, 0]]).astype(getattr(ml_dtypes, dtype))
    found = as_array(given, "x")
    assert found.dtype.name == {"i": "int8", "u": "uint8"}.get(dtype[0], "float32")
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])
