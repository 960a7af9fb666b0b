"""A kernel of numpy that is slightly wrong is noticed by the verification of an import, or its node is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from architectures import Array, export, inputs, module

from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import VerificationError
from portable_nn.network import Network
from portable_nn.operators import Operator, find

pytest.importorskip("torch")

MODELS = (
    "bert",
    "albert",
    "gpt2",
    "vit",
    "wav2vec2",
    "whisper-encoder",
    "mobilenetv2_035",
    "convnext_atto",
    "levit_128s",
)
"""Networks with many operators, each imported in about a second."""

Fault = Callable[[Array], Array]


def faults(rng: np.random.Generator) -> dict[str, Fault]:
    """Ways for an output to be wrong, of which some show for few elements or batches alone."""
    much, high, place = rng.choice([1e-4, 1e-3, 1e-2]), rng.choice([0.5, 1.0, 2.0]), int(rng.integers(100))
    return {
        f"times 1+{much}": lambda y: y * (1 + much),
        f"more where above {high}": lambda y: np.where(y > high, 1.01 * y, y),
        f"more where below -{high}": lambda y: np.where(y < -high, 1.01 * y, y),
        f"at most {high}": lambda y: np.clip(y, -high, high),
        "rounded": lambda y: np.round(y * 1024) / 1024,
        "a column": lambda y: np.where(np.arange(y.shape[-1]) == place % y.shape[-1], 0.99 * y, y),
        "rows mixed": lambda y: y - 0.01 * y.mean(0, keepdims=True),
        "rows after the first": lambda y: np.concatenate([y[:1], 1.01 * y[1:]]),
        "many elements": lambda y: 1.001 * y if y.size > 500 else y,
        "near zero": lambda y: np.where(np.abs(y) < 0.02, y + 0.01, y),
        "largest": lambda y: np.where(y == y.max(-1, keepdims=True), 0.99 * y, y),
        "reversed": lambda y: y[..., ::-1],
    }


@contextmanager
def faulty(operator: Operator, fault: Fault, dtypes: tuple[str, ...]) -> Iterator[None]:
    """An operator whose first output is changed wherever a kernel writes it in an array of its own."""
    kernel = operator.kernel

    def wrong(context: Any) -> Any:
        made: dict[int, Array] = {}
        viewed: list[int] = []
        out, view = context.out, context.view

        def keep(index: int = 0, *given: Any, **named: Any) -> Array:
            made[index] = out(index, *given, **named)
            return made[index]

        def note(array: Array, index: int = 0) -> None:
            viewed.append(index)
            view(array, index)

        context.out, context.view = keep, note
        found = kernel(context)
        steps = [] if found is None else [found] if callable(found) else list(found)
        array = made.get(0)
        if viewed or array is None or array.dtype.name not in dtypes or not array.ndim or not array.size:
            return steps

        def spoil() -> None:
            with np.errstate(all="ignore"):
                array[...] = fault(array.copy())

        return [*steps, spoil]

    object.__setattr__(operator, "kernel", wrong)
    try:
        yield
    finally:
        object.__setattr__(operator, "kernel", kernel)


def computed(network: Network, name: str) -> list[Array]:
    """What a network computes of four inputs."""
    given = [inputs(name, batch, seed) for seed, batch in enumerate((1, 2, 2, 3))]
    found = [network.predict(each if len(each) > 1 else next(iter(each.values()))) for each in given]
    return [np.array(next(iter(each.values())) if isinstance(each, dict) else each) for each in found]


@pytest.mark.sweep
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float32",)], ids=["both", "float32"])
def test_a_wrong_kernel_is_noticed_or_its_node_is_named(
    dtypes: tuple[str, ...], tmp_path: Path, one_thread: None
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("timm")

    @cache
    def prepared(name: str) -> tuple[onnx.ModelProto, list[Array], list[str]]:
        path = tmp_path / f"{name}.onnx"
        export(module(name), inputs(name, 2), "old", path)
        model = onnx.load(path)
        network = read_onnx(model, verify=False).network
        operators = {node.operator for node in network.graph.nodes if node.operator != "Constant" and not node.domain}
        return model, computed(network, name), sorted(operators)

    moved, missed = 0, []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        name = str(rng.choice(MODELS))
        model, clean, operators = prepared(name)
        operator = find(str(rng.choice(operators)))
        assert operator
        ways = faults(rng)
        way = str(rng.choice(list(ways)))
        with faulty(operator, ways[way], dtypes):
            found = computed(read_onnx(model, verify=False).network, name)
            if all(np.allclose(a, b, rtol=0, atol=3e-5 * np.abs(a).max()) for a, b in zip(clean, found, strict=True)):
                continue
            moved += 1
            try:
                proof = read_onnx(model).outputs
            except VerificationError:
                continue
        named = any(f"({operator.name})" in each for each in proof.not_exercised)
        if not named:
            missed.append(f"{seed} {name} {operator.name}: {way}")
    assert moved > 100
    assert len(missed) <= moved / 100, missed
