"""Models of sound: transforms in files of other programs, proved, computed and written again, whatever their length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import GraphError, VerificationError
from portable_nn.onnx.session import Session
from portable_nn.operators.linear import fourier

Array = np.ndarray[Any, Any]

RNG = np.random.default_rng(0)
HOP, WINDOW, BANDS = 160, np.hanning(400).astype(np.float32), RNG.random((201, 40)).astype(np.float32)


def model(nodes: Sequence[Any], shape: Sequence[Any], opset: int = 17, **stored: Any) -> ModelProto:
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "sound", given, [helper.make_empty_tensor_value_info("y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def mel(length: int | str) -> ModelProto:
    """The logarithm of the strength of sounds in bands, as recognisers of speech begin."""
    make = helper.make_node
    nodes = [
        make("STFT", ["x", "hop", "window"], ["waves"], onesided=1),
        make("Mul", ["waves", "waves"], ["squares"]),
        make("ReduceSum", ["squares", "last"], ["power"], keepdims=0),
        make("MatMul", ["power", "bands"], ["mel"]),
        make("Add", ["mel", "least"], ["some"]),
        make("Log", ["some"], ["y"]),
    ]
    stored = {"hop": np.int64(HOP), "window": WINDOW, "last": np.int64([3]), "bands": BANDS, "least": np.float32(1e-3)}
    return model(nodes, ["batch", length, 1], **stored)


def mel_of(x: Array) -> Array:
    """The same in the words of numpy."""
    pieces = np.lib.stride_tricks.sliding_window_view(x[..., 0].astype(float), 400, axis=1)[:, ::HOP]
    return np.log(np.abs(np.fft.rfft(pieces * WINDOW)) ** 2 @ BANDS + 1e-3)


def transform(length: int | str, parts: int, opset: int = 17, **options: int) -> ModelProto:
    node = helper.make_node("DFT", ["x"], ["y"], **options, **({"axis": 1} if opset < 20 else {}))
    return model([node], ["batch", length, parts], opset)


def apart(z: Array) -> Array:
    return np.stack([z.real, z.imag], axis=-1)


def joined(x: Array) -> Array:
    return x[..., 0] + 1j * x[..., 1].astype(float)


CASES: dict[str, tuple[ModelProto, tuple[int, ...], Callable[[Array], Array]]] = {
    "mel, any length": (mel("time"), (2, 3000, 1), mel_of),
    "mel": (mel(4000), (2, 4000, 1), mel_of),
    "1000": (transform(1000, 1), (2, 1000, 1), lambda x: apart(np.fft.fft(x[..., 0].astype(float)))),
    "1000, inverse": (transform(1000, 2, inverse=1), (2, 1000, 2), lambda x: apart(np.fft.ifft(joined(x)))),
    "4096, half": (transform(4096, 1, onesided=1), (2, 4096, 1), lambda x: apart(np.fft.rfft(x[..., 0].astype(float)))),
    "half back": (
        transform(33, 2, 20, inverse=1, onesided=1), (2, 33, 2), lambda x: np.fft.irfft(joined(x))[..., np.newaxis]
    ),
    "any length": (transform("time", 2, 20), (2, 77, 2), lambda x: apart(np.fft.fft(joined(x)))),
}  # fmt: skip


@pytest.mark.quick("4096", "half back", "any length")
@pytest.mark.parametrize("name", CASES)
def test_a_transform_is_imported_with_proof_and_written_again(name: str, tmp_path: Path) -> None:
    given, shape, compute = CASES[name]
    network, proof, _ = read_onnx(given)
    assert proof.compared
    x = RNG.normal(size=shape).astype(np.float32)
    wanted = compute(x)
    limit = 2e-6 * np.abs(wanted).max() * (5 if "mel" in name else 1)
    np.testing.assert_allclose(network.predict(x), wanted, rtol=0, atol=limit)
    for opset in (13, 17, 20) if "4096" not in name else (17, 20):
        export_onnx(network, tmp_path / "y.onnx", opset=opset)
        [theirs] = Session((tmp_path / "y.onnx").read_bytes()).run({"x": x}).values()
        np.testing.assert_allclose(theirs, wanted, rtol=0, atol=5 * limit)
        assert (tmp_path / "y.onnx").stat().st_size < 10**6


def test_a_power_of_two_stays_a_transform_in_files(tmp_path: Path) -> None:
    """A product with so many cosines would take long."""
    export_onnx(import_onnx(CASES["4096, half"][0]), tmp_path / "y.onnx", opset=20)
    assert "DFT" in [node.op_type for node in onnx.load(tmp_path / "y.onnx").graph.node]


def test_a_transform_that_is_off_by_a_hundredth_is_not_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxruntime's kernel is off by is allowed, and no more."""
    put = fourier._put
    monkeypatch.setattr(fourier, "_put", lambda out, found: put(out, found * 1.01))
    with pytest.raises(VerificationError, match="DFT"):
        import_onnx(CASES["1000"][0])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 8, 3), {}, r"\(…, 1\) of real or \(…, 2\) of complex numbers"),
        ((2, 8, 2), {"onesided": 1}, "half a spectrum is that of real numbers"),
        ((2, 8, 1), {"onesided": 1, "inverse": 1}, "half a spectrum becomes real numbers"),
        ((2, 8, 1), {"inverse": 3}, "inverse must be 0 or 1, not 3"),
        ((2, 1, 2), {"onesided": 1, "inverse": 1}, "the length of the signal must be 1 or more, not 0"),
    ],
)
def test_what_is_no_transform_is_refused_by_what_is_missing(
    shape: tuple[int, ...], options: dict[str, int], message: str
) -> None:
    x = pnn.Input(*shape[1:], name="x")
    with pytest.raises(GraphError, match=message):
        pnn.emit("DFT", x, **options)
