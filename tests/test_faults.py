"""The pairs of ``benchmarks/faults.py``: each fault is where it is said to be, and each rewrite computes the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # after the folders that have modules of equal names

from fault_kinds import KINDS, Pair, Planting
from fault_models import MODELS, inputs, model_of, nodes
from fault_rewrites import REWRITES, ROUNDED, rewritten, under_other_names
from fault_tools import Answer
from faults import bounded, judged

onnxruntime = pytest.importorskip("onnxruntime")

TORCH = ("cnn", "lstm", "mixer", "unet")
NAMES = ["branches", *(pytest.param(name, marks=pytest.mark.long) for name in ("suppression", "our-cnn", *TORCH))]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def made(name: str, cache: Path) -> onnx.ModelProto:
    if name in TORCH:
        pytest.importorskip("torch")
    return model_of(name, cache)


def described(model: onnx.ModelProto, left_out: int | None = None) -> Iterator[tuple[str, Any]]:
    """Names of nodes, and all that they are but for names: what makes each value, the bytes of weights.

    Nodes are counted as if there were one more, ``left_out``, which hands on what it reads.
    """
    sources: dict[str, Any] = {each.name: (each.dims, each.raw_data) for each in model.graph.initializer}
    sources |= {each.name: each.name for each in model.graph.input}
    for place, node in enumerate(nodes(model)):
        shift = left_out is not None and place >= left_out
        sources |= {name: (place + shift, at) for at, name in enumerate(node.output)}
    for node in nodes(model):
        plain = (each for each in node.attribute if each.type != onnx.AttributeProto.GRAPH)
        attributes = sorted(each.SerializeToString() for each in plain if each.name not in ("value",))
        yield node.name, (node.op_type, attributes, [sources.get(name) for name in node.input])


def differing(a: onnx.ModelProto, b: onnx.ModelProto, kind: str) -> set[str]:
    """Nodes of B that are not as in A."""
    ones = list(described(a))
    if kind == "transpose: missing":
        found = []
        for place, (_, (operator, *_)) in enumerate(ones):
            if operator == "Transpose":
                kept = [each for at, each in enumerate(ones) if at != place]
                pairs = zip(kept, described(b, place), strict=True)
                found.append({name for (_, one), (name, other) in pairs if one != other})
        return min(found, key=len)
    return {name for (_, one), (name, other) in zip(ones, described(b), strict=True) if one != other}


def outputs_of(model: onnx.ModelProto, given: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Any] = session.run([each.name for each in model.graph.output], given)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_fault_is_at_the_node_it_is_said_to_be_at(name: str, cache: Path) -> None:
    model = made(name, cache)
    found = [under_other_names(pair, place) for place, pair in enumerate(islice(Planting(name, model), 50))]
    assert len(found) == 50
    assert {pair.kind for pair in found} <= {*KINDS}
    assert len({pair.model.SerializeToString() for pair in found}) == 50
    for pair in found:
        onnx.checker.check_model(pair.model)
        wrong = differing(model, pair.model, pair.kind)
        assert wrong, pair.kind
        assert wrong <= {*pair.nodes}, pair.kind
        assert pair.renamed == bool({each.name for each in nodes(pair.model)} - {each.name for each in nodes(model)})


@pytest.mark.parametrize("name", ["branches", pytest.param("cnn", marks=pytest.mark.long)])
def test_a_fault_that_moves_an_output_does_so_in_the_reference_too(name: str, cache: Path) -> None:
    model = made(name, cache)
    given = [inputs(model, seed) for seed in range(2)]
    before = [ReferenceEvaluator(model).run(None, each) for each in given]
    for pair in islice(Planting(name, model), 30):
        after = [ReferenceEvaluator(pair.model).run(None, each) for each in given]
        changes = [
            np.abs(one - other).max()
            for ones in zip(before, after, strict=True)
            for one, other in zip(*ones, strict=True)
        ]
        assert (max(changes) > 1e-6) == pair.moved, pair.kind


@pytest.mark.long
@pytest.mark.parametrize("name", ["branches", "suppression", "our-cnn", *TORCH])
def test_a_rewrite_computes_the_same_in_onnxruntime(name: str, cache: Path) -> None:
    model = made(name, cache)
    given = inputs(model, 7)
    wanted, found = outputs_of(model, given), list(islice(rewritten(name, model), 25))
    assert len(found) == 25
    assert len({pair.kind for pair in found} & {*REWRITES}) >= 8
    for pair in found:
        assert not pair.moved
        assert not pair.nodes
        names = [node.name for node in nodes(pair.model)]
        assert len({*names}) == len(names)
        for one, other in zip(wanted, outputs_of(pair.model, given), strict=True):
            limit = 0.1 if pair.kind == ROUNDED else 1e-3
            np.testing.assert_allclose(one, other, rtol=limit, atol=limit * one.std(), err_msg=pair.kind)


@pytest.mark.long
def test_faults_and_rewrites_are_the_same_each_time(cache: Path) -> None:
    model = made("branches", cache)

    def drawn() -> list[Pair]:
        return [*islice(Planting("branches", model), 20), *islice(rewritten("branches", model), 20)]

    for one, other in zip(drawn(), drawn(), strict=True):
        assert one == other


def test_there_are_forty_models() -> None:
    assert len(MODELS) == 40


ANSWERS = [
    (True, Answer("parted", ("n3",)), "right"),
    (True, Answer("parted", ("n2",)), "other"),
    (True, Answer("weights", ("n3", "n2")), "other"),
    (True, Answer("same"), "missed"),
    (True, Answer("undecided", note="too long"), "undecided"),
    (False, Answer("same"), "same"),
    (False, Answer("parted", ("n3",)), "accused"),
    (False, Answer("weights", ("n3",)), "accused"),
    (False, Answer("not installed"), "not installed"),
]


@pytest.mark.parametrize(("fault", "said", "column"), ANSWERS)
def test_an_answer_counts_in_its_column(fault: bool, said: Answer, column: str) -> None:
    assert judged({"fault": fault, "kind": "any", "nodes": ["n3", "n4"]}, said) == column


def test_weights_that_are_said_to_be_rounded_are_no_accusation() -> None:
    assert judged({"fault": False, "kind": ROUNDED, "nodes": []}, Answer("weights", ("n3",))) == "same"


@pytest.mark.long
def test_a_comparison_that_takes_too_long_or_ends_its_process_is_undecided() -> None:
    assert bounded(1, time.sleep, 30) == "took too long"
    assert bounded(30, sys.exit, 0) == "ended the process"
    assert bounded(30, sum, [1, 2]) == 3


@pytest.mark.long
def test_the_program_compares_a_sample(tmp_path: Path) -> None:
    line = [sys.executable, "faults.py", "--quick", "--models", "branches", "--tools", "onnxruntime", "--cache"]
    done = subprocess.run(
        [*line, str(tmp_path), "--json", str(tmp_path / "rows.json"), "--plot", str(tmp_path / "bars.png")],
        cwd=Path(__file__).parent.parent / "benchmarks", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "| kind | planted | moved | right | other | missed | undecided |" in done.stdout
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
