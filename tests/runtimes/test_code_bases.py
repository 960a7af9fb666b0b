"""Code bases as rows of the table of runtimes: what a network becomes in them runs in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.source import c_compiling
from portable_nn.core.errors import UsageError
from portable_nn.runtimes.table import RUNTIMES, Runtime

CODE_BASES = [name for name, row in RUNTIMES.items() if row.takes == "network"]


def network() -> pnn.Network:
    return pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(4), pnn.Dense(2, name="answer"), pnn.Tanh(), seed=0)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a code base in the table: the numpy engine, with what ``fault`` does to a network before it runs."""

    def put(fault: str) -> str:
        (tmp_path / "stand_in.py").write_text(
            "import portable_nn as pnn\n\ndef load(task):\n    net = pnn.load(task.path)\n"
            f"    operators = [node.operator for node in net.graph.nodes]\n    {fault}\n"
            "    return lambda feeds: net.compute('numpy', feeds)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        row = Runtime(title="stand-in", module="stand_in", packages=("numpy",), needs="", takes="network")
        monkeypatch.setitem(RUNTIMES, "stand_in", row)  # type: ignore[arg-type]
        return "stand_in"

    return put


def test_the_table_has_them() -> None:
    assert CODE_BASES == ["torch", "jax", "keras", "numpy", "c"]


@pytest.mark.long
def test_source_files_agree_at_open_sizes_and_the_command_has_limits(
    capsys: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    """One model, whose length is an argument of the C function, in the two that need no other package."""
    from portable_nn.cli import main

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["portable-nn", "check", str(tmp_path / "net.npz"), "--format", "json", *words])
        return main()

    network().save(tmp_path / "net.npz")
    assert run("--runtimes", "numpy,c", "--limits", "60,4GiB", "--tolerance", "1e-5") == 0
    found = json.loads(capsys.readouterr().out)["runtimes"]
    assert [(row["runtime"], row["state"], row["sizes"]) for row in found["runtimes"]] == [
        ("numpy", "agrees", "open"),
        ("c", "agrees", "open"),
    ]
    assert found["rtol"] == 1e-5
    assert len(found["sizes"]["steps"]) == 3
    assert run("--limits", "60") == 2


@pytest.mark.long
def test_what_cannot_take_the_model_says_why_and_where(stand_in: Any) -> None:
    """No second search: the words of the refusal name the node."""
    reason = "these nodes have no form here: 'answer' (MatMul): no row"
    [row] = pnn.check_runtimes(network(), runtimes=stand_in(f"raise ValueError({reason!r})")).rows
    assert (row.state, row.reason) == ("refused", reason)


@pytest.mark.long
def test_the_first_node_of_a_network_is_found(stand_in: Any) -> None:
    fault = "if 'Tanh' in operators: net.parameters['answer.bias'][...] += 1"
    [row] = pnn.check_runtimes(network(), runtimes=stand_in(fault)).rows
    assert (row.state, row.node) == ("differs", "'tanh_1' (Tanh)")


def test_what_numpy_cannot_run_is_refused_with_the_operator(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Unique", ["x"], ["y", "i", "c"], name="once", domain="com.microsoft")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in (("x", 4), ("y", None))]
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    (tmp_path / "once.onnx").write_bytes(model.SerializeToString())
    [row] = pnn.check_runtimes(tmp_path / "once.onnx", runtimes="numpy").rows
    assert row.state == "refused"
    assert "Unique" in row.reason


def test_weights_that_no_file_takes_are_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pnn.Network, "save", _no_space)
    [row] = pnn.check_runtimes(network(), runtimes="numpy").rows
    assert (row.state, row.reason) == ("refused", "no space is left")


def _no_space(*_: Any) -> None:
    raise UsageError("no space is left")


def test_without_a_compiler_c_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_compiling, "COMPILERS", ("no-such-compiler",))
    [row] = pnn.check_runtimes(network(), runtimes="c").rows
    assert (row.state, row.version) == ("not installed", None)
    assert "gcc" in row.reason


@pytest.mark.long
@pytest.mark.parametrize("name", ["torch", "jax", "keras"])
def test_a_recurrent_network_and_a_picture_s_agree(name: str) -> None:
    if RUNTIMES[name].version is None:
        pytest.skip(RUNTIMES[name].needs)
    for model in (network(), "digits-cnn"):
        [row] = pnn.check_runtimes(model, runtimes=name, rtol=1e-5).rows
        assert (row.state, row.reason) == ("agrees", "")
        assert np.isfinite(row.error.max_abs_error)
