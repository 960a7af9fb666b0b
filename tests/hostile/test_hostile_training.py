"""Checkpoints that contradict themselves, in every carrier."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import DATA, Forge, value
from rows import CARRIERS, refused, register

import portable_nn as pnn
from portable_nn.format import load, save

ROWS: list[Any] = []
row = register(ROWS)

GENERATOR = {
    "name": "PCG64", "state": "0123456789abcdef" * 2, "increment": "fedcba9876543211" * 2,
    "has_uint32": 1, "uinteger": 2**32 - 1,
}  # fmt: skip

SHAPES = {
    "training/state/a.weight/first": [2, 2],
    "training/best/a.weight": [2, 2],
    "training/best/b.weight": [2, 2],
    "training/best/b.bias": [2],
}

TRAINING: dict[str, Any] = {
    "tensors": [value(name, shape) for name, shape in SHAPES.items()],
    "settings": {"epochs": "3"}, "epoch": 2, "batch": 1, "step": 7, "loss": 0.5, "weight": 2.0,
    "generator": dict(GENERATOR), "epoch_generator": dict(GENERATOR),
    "rows": [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": "nan"}],
    "best_epoch": 1,
}  # fmt: skip


def checkpoint() -> Forge:
    """A valid checkpoint: one of two epochs was the best, and an optimizer keeps something of one parameter."""
    valid = Forge()
    valid.manifest["training"] = copy.deepcopy(TRAINING)
    for name, shape in SHAPES.items():
        valid.store(name, "float32", shape, DATA[: 4 * math.prod(shape)])
    return valid


def renamed(valid: Forge, old: str, new: str) -> None:
    """Give a tensor another name, everywhere but in the graph."""
    valid.stored[new] = valid.stored.pop(old)
    for kind in ("digests", "checksums"):
        valid.manifest[kind][new] = valid.manifest[kind].pop(old)
    for tensor in valid.manifest["training"]["tensors"]:
        tensor["name"] = new if tensor["name"] == old else tensor["name"]


@row("16", "the manifest is malformed: training has the unknown field 'note'")
def unknown_field(valid: Forge) -> None:
    valid.manifest["training"]["note"] = 1


@row("16", "the manifest is malformed: training lacks the field 'rows'")
def missing_field(valid: Forge) -> None:
    del valid.manifest["training"]["rows"]


@row("16", "the manifest is malformed: training cannot be \\[\\]")
def training_of_another_type(valid: Forge) -> None:
    valid.manifest["training"] = []


@row("19", "the manifest is malformed: it cannot be read as JSON in UTF-8")
def loss_that_is_no_number(valid: Forge) -> None:
    valid.manifest["training"]["loss"] = math.nan


@row("21", "the manifest is malformed: training.batch cannot be 1.5")
def batch_with_a_point(valid: Forge) -> None:
    valid.manifest["training"]["batch"] = 1.5


@row("21", "the manifest is malformed: training.step cannot be -1")
def negative_step(valid: Forge) -> None:
    valid.manifest["training"]["step"] = -1


@row("21", "the manifest is malformed: training.weight cannot be -1.0")
def negative_weight(valid: Forge) -> None:
    valid.manifest["training"]["weight"] = -1.0


@row("21", "the manifest is malformed: training.generator.state cannot be ")
def digits_that_are_none(valid: Forge) -> None:
    valid.manifest["training"]["generator"]["state"] = "0123456789abcdeg" * 2


@row("21", "the manifest is malformed: training.generator.state cannot be ")
def digits_and_a_line_end(valid: Forge) -> None:
    valid.manifest["training"]["generator"]["state"] += "\n"


@row("21", "the manifest is malformed: training.epoch_generator.increment cannot be ")
def too_many_digits(valid: Forge) -> None:
    valid.manifest["training"]["epoch_generator"] = GENERATOR | {"increment": "0" * 33}


@row("21", "the manifest is malformed: training.generator.uinteger cannot be 4294967296")
def half_a_draw_of_too_many_bits(valid: Forge) -> None:
    valid.manifest["training"]["generator"]["uinteger"] = 2**32


@row("37", 'the manifest is malformed: training.generator.name cannot be "MT19937"')
def another_generator(valid: Forge) -> None:
    valid.manifest["training"]["generator"]["name"] = "MT19937"


@row("22", r"the name 'training/best/\\x1b\[2J' of a value has a control or invisible character")
def name_that_drives_the_terminal(valid: Forge) -> None:
    renamed(valid, "training/best/b.bias", "training/best/\x1b[2J")


@row("22", "the name 'training/best/../x' of a value looks like a path")
def name_like_a_path(valid: Forge) -> None:
    renamed(valid, "training/best/b.bias", "training/best/../x")


@row("23", "the tensor 'a.weight' of the training has a name that another value has")
def name_of_a_parameter(valid: Forge) -> None:
    valid.manifest["training"]["tensors"].append(value("a.weight", [2, 2]))


@row("23", "the tensor 'y' of the training has a name that another value has")
def name_of_an_output(valid: Forge) -> None:
    renamed(valid, "training/best/b.bias", "y")


@row("23", "the tensor 'training/best/b.bias' of the training has a name that another value has")
def one_name_twice(valid: Forge) -> None:
    valid.manifest["training"]["tensors"] *= 2


@row("26", rf"tensor 'training/best/b.bias' has shape \({2**62}, {2**62}\), more than {2**63 - 1} bytes")
def shape_that_overflows(valid: Forge) -> None:
    valid.manifest["training"]["tensors"][3]["shape"] = [2**62, 2**62]


@row("26", r"tensor 'training/best/b.bias' has shape \(n,\); each size must be a whole number from 0")
def shape_that_is_not_known(valid: Forge) -> None:
    valid.manifest["training"]["tensors"][3]["shape"] = ["n"]


@row("30", "tensor 'training/best/b.bias' has dtype 'complex64'; a file can hold float64, int64, ")
def unknown_dtype(valid: Forge) -> None:
    valid.manifest["training"]["tensors"][3]["dtype"] = "complex64"


@row("33", "epoch 1 is the best, but the tensors training/best/… are a.weight .*, b.weight .*; the parameters are a")
def best_weights_without_one(valid: Forge) -> None:
    renamed(valid, "training/best/b.bias", "training/state/b.bias/first")


@row("33", "there is no best epoch, but the tensors training/best/… are a.weight ")
def best_weights_of_nothing(valid: Forge) -> None:
    valid.manifest["training"]["best_epoch"] = None


@row("33", "the tensor 'training/state/c.weight/first' belongs to no parameter of its dtype and shape")
def state_of_nothing(valid: Forge) -> None:
    renamed(valid, "training/state/a.weight/first", "training/state/c.weight/first")


@row("33", "the tensor 'other' of the training begins neither with training/state/ nor with training/best/")
def tensor_of_another_kind(valid: Forge) -> None:
    renamed(valid, "training/state/a.weight/first", "other")


@row("33", "tensor 'training/best/b.bias' has no SHA-256 in the manifest")
def tensor_without_hashes(valid: Forge) -> None:
    for kind in ("digests", "checksums"):
        del valid.manifest[kind]["training/best/b.bias"]


@row("34", "the tensor 'training/state/a.weight/first' belongs to no parameter of its dtype and shape")
def state_of_another_shape(valid: Forge) -> None:
    valid.manifest["training"]["tensors"][0]["shape"] = [4]


@row("38", rf"{2**62} epochs of the training are done, but it has rows of the epochs \[1, 2\]")
def more_epochs_than_memory(valid: Forge) -> None:
    valid.manifest["training"]["epoch"] = 2**62


@row("39", r"2 epochs of the training are done, but it has rows of the epochs \[1, 3\]")
def epoch_that_was_passed_over(valid: Forge) -> None:
    valid.manifest["training"]["rows"][1]["epoch"] = 3


@row("39", "the rows of the training do not have the same columns")
def rows_of_other_columns(valid: Forge) -> None:
    valid.manifest["training"]["rows"][1]["accuracy"] = 1.0


@row("39", 'the manifest is malformed: training.rows\\[1\\].loss cannot be "NaN"')
def figure_that_is_a_word(valid: Forge) -> None:
    valid.manifest["training"]["rows"][1]["loss"] = "NaN"


@row("39", "the best epoch of the training is 3, but 2 are done")
def best_epoch_to_come(valid: Forge) -> None:
    valid.manifest["training"]["best_epoch"] = 3


@row("41", "tensor 'training/best/b.bias' is damaged or another network's: its XXH3-128 is ")
def flipped_bit(valid: Forge) -> None:
    valid.data = valid.data[:-1] + bytes([valid.data[-1] ^ 1])


@pytest.mark.parametrize("suffix", CARRIERS)
@pytest.mark.parametrize(("make", "message"), ROWS)
def test_hostile_training(tmp_path: Path, suffix: str, make: Callable[[Forge], None], message: str) -> None:
    valid = checkpoint()
    make(valid)
    refused(tmp_path / f"net{suffix}", CARRIERS[suffix](valid), message)


@pytest.mark.parametrize("suffix", CARRIERS)
def test_a_checkpoint_that_is_right_is_a_network_for_everybody(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(CARRIERS[suffix](checkpoint()))
    contents = load(path)
    assert contents.tensors["training/best/b.bias"].tolist() == [1, 2]
    assert list(pnn.load(path).parameters) == ["a.weight", "b.weight", "b.bias"]
    save(path, contents.manifest, contents.tensors)
    assert path.read_bytes() == CARRIERS[suffix](checkpoint())
