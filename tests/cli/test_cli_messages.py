"""What commands say to somebody in a hurry: what is wrong, and which option or step mends it."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import portable_nn as pnn
from portable_nn.core.errors import UsageError

TABLE = "a,b,y\n" + "".join(f"{place},{place % 7},{'no' if place % 3 else 'yes'}\n" for place in range(40))


@pytest.fixture(autouse=True)
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def said(run, *command: str) -> str:
    """The error of a command that ends with one."""
    found = run(*command)
    assert found.code
    assert found.err.startswith("error: ")
    return found.err


def test_auto_without_a_target_asks_for_the_target(run) -> None:
    text = said(run, "train", "auto-8-auto", "table.csv", "-o", "m.npz")
    assert text.startswith("error: --target NAME is missing: LAYERS auto-8-auto counts the columns of a table")
    assert "--target" not in said(run, "train", "8", "table.csv", "-o", "m.npz")


def test_missing_values_name_the_option(run, table: Path) -> None:
    table.write_text(TABLE.replace("\n2,", "\n,"))
    text = said(run, "train", "auto-8-auto", "table.csv", "--target", "y", "-o", "m.npz")
    assert "'a' 1. --missing says what to put there: mean, median or indicator; drop leaves out" in text


def test_weights_that_cannot_be_read_are_named_with_the_reason(run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"c1.weight": np.ones((3, 4)), "c1.bias": torch.ones(3)}, tmp_path / "w.pt")
    text = said(run, "import", "w.pt", "m.npz")
    assert ". Not read: 'c1.weight' is an object of numpy." in text


def test_arrays_in_a_file_are_no_table(run, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.eye(40, 3), labels=np.arange(40) % 2)
    text = said(run, "train", "3-4-2", "a.npz", "--target", "labels", "-o", "m.npz")
    assert "not a file of arrays: --inputs names the array of the examples, and --target" in text
    words = ["--inputs", "images", "--target", "labels", "--epochs", "1"]
    assert run("train", "3-4-2", "a.npz", *words, "-o", "m.npz").code == 0


@pytest.mark.long
def test_a_program_of_torch_is_read_by_way_of_onnx(run, tmp_path: Path) -> None:
    """The call that the message names works, as the next line of the message's reader."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    path = tmp_path / "m.pt2"
    program = torch.export.export(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), (torch.zeros(2, 3),))
    torch.export.save(program, path)
    code, _, err = run("import", str(path), "m.safetensors")
    assert code == 2
    assert "torch.onnx.export(torch.export.load(PATH), f='model.onnx')" in err
    with pytest.raises(UsageError, match=r"not an ExportedProgram: .* torch.onnx.export\(program, f='model.onnx'\)"):
        pnn.from_torch(program, torch.zeros(2, 3))


def test_a_pickle_is_not_read_and_there_is_a_way_out(run, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": np.ones(3)}))
    text = said(run, "import", "w.pkl", "m.npz")
    assert "it is not read: where you trust it, load it in Python, and write its arrays with np.savez(" in text
    assert "pickle" not in said(run, "import", "table.csv", "m.npz")


def test_a_table_model_given_pictures_says_which_columns_it_takes(run) -> None:
    assert run("train", "auto-8-auto", "table.csv", "--target", "y", "--epochs", "1", "-o", "m.npz").code == 0
    text = said(run, "predict", "m.npz", "digits")
    assert (
        text == "error: this model takes rows of numbers, and no pictures: give it a table with the columns a, b, "
        "such as a CSV file\n"
    )


@pytest.mark.parametrize(
    ("epochs", "lines"),
    [(3, [1, 2, 3]), (20, [*range(1, 21)]), (34, [1, *range(2, 35, 2)]), (250, [1, *range(13, 250, 13), 250])],
)
def test_many_epochs_have_a_line_for_the_first_the_last_and_some_between(run, epochs: int, lines: list[int]) -> None:
    options = ["--epochs", str(epochs), "--early-stopping", "0", "-o", "m.npz"]
    found = run("train", "auto-auto", "table.csv", "--target", "y", *options)
    begun = [line.split(" of ")[0].split() for line in found.err.splitlines() if line.startswith("epoch ")]
    assert begun == [["epoch", str(place)] for place in lines]


def test_an_ending_of_several_programs_names_their_options(run) -> None:
    text = said(run, "export", "digits", "m.py")
    assert text == "error: m.py: .py files are of several kinds: --code numpy or --code torch says which\n"


def test_of_many_values_in_between_some_are_named(run, tmp_path: Path) -> None:
    names = ["x", *(f"v{place}" for place in range(30)), "y"]
    nodes = [helper.make_node("Relu", [one], [two]) for one, two in pairwise(names)]
    info = {name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in names}
    graph = helper.make_graph(nodes, "g", [info["x"]], [info["y"]], value_info=[info[name] for name in names[1:-1]])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    found = run("import", "m.onnx", "m.npz")
    assert found.code == 0
    assert (
        "types of intermediate values are computed when the file is read, and not stored (30): 'v0', 'v1', 'v2', 'v3', "
        "'v4', … (all of it: " in found.err
    )


def test_a_model_is_not_called_as_an_option(run):
    """There is a model ``digits``, and an option ``--digits``."""
    found = run("predict", "digits", "digits", "--output", "no", "--out", "x.npz")
    assert found == (2, "", "error: digits: has no output 'no': its outputs are 'digit'\n")


def test_options_of_every_command_are_spelled_as_at_the_shell(run, tmp_path: Path) -> None:
    (tmp_path / "x.csv.part").write_text("mine")
    found = run("predict", "digits", "digits", "--out", "x.csv")
    assert (found.code, "x.csv.part exists already, without the journal of a run: --force" in found.err) == (2, True)
    found = run("predict", "digits", "digits", "--resume")
    assert found.err.startswith("error: --resume is for --out FILE.csv, FILE.jsonl, ")
