"""What a checkpoint is not gone on with, and what is said: every difference, with both values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from steps import copied, draw
from trainings import TRAININGS, Training, dense, hill, shake

import portable_nn as pnn
from portable_nn import format
from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.format.carriers import carrier_of
from portable_nn.format.writing import prepare, write
from portable_nn.operators.registry import Array
from portable_nn.training.checkpoint import Standing, standing
from portable_nn.training.settings import describe, fingerprint

EVERYTHING = TRAININGS["everything"]
CANNOT = "the training cannot go on with another network, other data or other settings (another folder begins anew)"
NEWEST = "checkpoint-00000012.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a training that has ended."""
    EVERYTHING.run(checkpoint=tmp_path / "run")
    return tmp_path / "run"


def refused(folder: Path, training: Training = EVERYTHING, error: type[Exception] = UsageError, **options: Any) -> str:
    """What is said instead of going on; the network, its generator and the file of rows are as they were."""
    network, rows = training.network(5), folder.parent / "rows.csv"
    weights, generator, outputs = copied(network), network.rng.bit_generator.state, network.outputs
    rows.write_text("precious")
    given = {"epochs": 3, "batch_size": 12, "augment": shake, "resume": True, **training.options, **options}
    with pytest.raises(error) as caught:
        network.fit(training.x, training.y, **{"metrics_csv": rows, "checkpoint": folder, **given})
    assert all((network.parameters[name] == array).all() for name, array in weights.items())
    assert (network.rng.bit_generator.state, network.outputs) == (generator, outputs)
    assert rows.read_text() == "precious"
    return str(caught.value)


def other(**changes: Any) -> Training:
    return Training(**{**vars(EVERYTHING), **changes})


# -- settings


def cubes_of_classes(output: pnn.Symbol, target: pnn.Symbol) -> pnn.Symbol:
    return output**3


def nudge(batch: Array, rng: np.random.Generator) -> Array:
    return batch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 16}, "batch_size: 12 in the checkpoint, 16 now"),
        ({"epochs": 4}, "epochs: 3 in the checkpoint, 4 now"),
        ({"epochs": 2}, "epochs: 3 in the checkpoint, 2 now"),
        ({"shuffle": False}, "shuffle: True in the checkpoint, False now"),
        ({"metrics": ()}, "metrics: accuracy in the checkpoint, none now"),
        (
            {"train_metrics": True},
            "metrics: accuracy in the checkpoint, accuracy of the training examples, too now",
        ),
        ({"clip_norm": 1}, "clip_norm: none in the checkpoint, 1 now"),
        ({"accumulate": 2}, "accumulate: none in the checkpoint, 2 now"),
        ({"average": 0.9}, "average: none in the checkpoint, 0.9 now"),
        (
            {"groups": {"*.bias": {"learning_rate": 0.1}}},
            "groups: none in the checkpoint, {'*.bias': {'learning_rate': 0.1}} now",
        ),
        ({"callbacks": print}, "callbacks: none in the checkpoint, builtins.print now"),
        (
            {"loss": pnn.CrossEntropy(label_smoothing=0.1)},
            "loss: cross_entropy of 'dense_2' in the checkpoint, cross_entropy(label_smoothing=0.1) of 'dense_2' now",
        ),
        (
            {"loss": cubes_of_classes},
            "loss: cross_entropy of 'dense_2' in the checkpoint, function test_checkpoint_refusals.cubes_of_classes of "
            "'dense_2' now",
        ),
        ({"schedule": None}, "schedule: trainings.hill in the checkpoint, none now"),
        (
            {"schedule": pnn.Warmup(2, pnn.CosineDecay())},
            "schedule: trainings.hill in the checkpoint, Warmup(length=2, after=CosineDecay(final=0.0), start=0.0) now",
        ),
        (
            {"augment": nudge},
            "augment: trainings.shake in the checkpoint, test_checkpoint_refusals.nudge now",
        ),
        (
            {"early_stopping": pnn.EarlyStopping(3)},
            "early_stopping: EarlyStopping(patience=2, monitor='val_loss', min_delta=0.0) in the checkpoint, "
            "EarlyStopping(patience=3, monitor='val_loss', min_delta=0.0) now",
        ),
        (
            {"early_stopping": None},
            "early_stopping: EarlyStopping(patience=2, monitor='val_loss', min_delta=0.0) in the checkpoint, "
            "the default now",
        ),
        (
            {"optimizer": pnn.Adam(0.03, beta1=0.8)},
            "optimizer: Adam(learning_rate=0.03, weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-08) in the "
            "checkpoint, Adam(learning_rate=0.03, weight_decay=0.0, beta1=0.8, beta2=0.999, epsilon=1e-08) now",
        ),
        (
            {"optimizer": "sgd"},
            "optimizer: Adam(learning_rate=0.03, weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-08) in the "
            "checkpoint, SGD(learning_rate=0.01, weight_decay=0.0, momentum=0.0, nesterov=False) now",
        ),
    ],
)
def test_another_setting_is_refused_with_both(run: Path, options: dict[str, Any], message: str) -> None:
    assert refused(run, **options) == f"{run / NEWEST}: {CANNOT}: {message}"


def test_all_that_differs_is_listed_at_once(run: Path) -> None:
    assert refused(run, batch_size=16, shuffle=False, epochs=9) == "\n  ".join(
        [
            f"{run / NEWEST}: {CANNOT}: 3 faults",
            "epochs: 3 in the checkpoint, 9 now",
            "batch_size: 12 in the checkpoint, 16 now",
            "shuffle: True in the checkpoint, False now",
        ]
    )


def test_fewer_epochs_are_another_training_even_without_a_schedule(tmp_path: Path) -> None:
    EVERYTHING.run(schedule=None, checkpoint=tmp_path / "run")
    assert refused(tmp_path / "run", schedule=None, epochs=2).endswith(": epochs: 3 in the checkpoint, 2 now")


def test_another_loss_is_refused_with_both(tmp_path: Path) -> None:
    momentum = TRAININGS["momentum"]
    momentum.run(checkpoint=tmp_path / "run")
    options = {**momentum.options, "loss": "cross_entropy"}
    probabilities = np.abs(momentum.y) / np.abs(momentum.y).sum(1, keepdims=True)
    message = refused(tmp_path / "run", Training(dense, momentum.x, probabilities, options))
    assert "loss: mean_squared_error of 'dense_2' in the checkpoint, cross_entropy of 'dense_2' now" in message


# -- data


def of(name: str, before: Array, now: Array) -> str:
    """What is said of an array of other values."""
    kind = f"{before.dtype} ({', '.join(map(str, before.shape))}{',' * (before.ndim == 1)})"
    return (
        f"{name}: {kind}, fingerprint {fingerprint(before)} in the checkpoint, "
        f"{kind}, fingerprint {fingerprint(now)} now"
    )


def test_other_values_are_refused_however_little_they_differ(run: Path) -> None:
    x, y = EVERYTHING.x.copy(), EVERYTHING.y.copy()
    x[17, 2] += 1e-6
    message = refused(run, other(x=x))
    assert message == f"{run / NEWEST}: {CANNOT}: {of('x', EVERYTHING.x[:48], x[:48])}"
    y[-1] = (y[-1] + 1) % 3
    message = refused(run, other(y=y))
    assert message == f"{run / NEWEST}: {CANNOT}: {of('validation y', EVERYTHING.y[48:], y[48:])}"


def test_more_examples_or_another_type_are_refused(run: Path) -> None:
    x = np.r_[EVERYTHING.x, EVERYTHING.x[:5]].astype("float64")
    message = refused(run, other(x=x, y=np.r_[EVERYTHING.y, EVERYTHING.y[:5]]))
    lines = [re.sub("fingerprint [0-9a-f]{16}", "…", line.strip()) for line in message.splitlines()[1:]]
    assert lines == [
        "x: float32 (48, 5), … in the checkpoint, float64 (52, 5), … now",
        "y: int64 (48,), … in the checkpoint, int64 (52,), … now",
        "validation x: float32 (12, 5), … in the checkpoint, float64 (13, 5), … now",
        "validation y: int64 (12,), … in the checkpoint, int64 (13,), … now",
    ]


def test_another_share_and_weights_are_refused(run: Path) -> None:
    message = refused(run, validation=0.25, sample_weight=np.ones(60))
    lines = [re.sub("fingerprint [0-9a-f]{16}", "…", line.strip()) for line in message.splitlines()[1:]]
    assert lines == [
        "validation: 0.2 of the examples in the checkpoint, 0.25 of the examples now",
        "x: float32 (48, 5), … in the checkpoint, float32 (45, 5), … now",
        "y: int64 (48,), … in the checkpoint, int64 (45,), … now",
        "sample_weight: none in the checkpoint, float32 (45,), … now",
        "validation x: float32 (12, 5), … in the checkpoint, float32 (15, 5), … now",
        "validation y: int64 (12,), … in the checkpoint, int64 (15,), … now",
        "validation sample_weight: none in the checkpoint, float32 (15,), … now",
    ]


def test_data_are_told_apart_by_their_values_alone() -> None:
    """However they lie in memory, and wherever a number differs among those that are looked at."""
    array = draw(300, 4)
    same = [array.copy(order="F"), array.astype(">f8"), np.repeat(array, 2, axis=0)[::2]]
    assert {fingerprint(each) for each in [array, *same]} == {fingerprint(array)}
    for place in (0, 299):
        changed = array.copy()
        changed[place, 3] += 1e-9
        assert fingerprint(changed) != fingerprint(array)
    for count in (1, 2, 255, 256, 257):
        for place in range(0, count, 51):
            changed = draw(count, 1)
            changed[place] += 1
            assert count > 256 or fingerprint(changed) != fingerprint(draw(count, 1))


# -- the network


def changed(place: int, layer: Callable[[], Any], **options: Any) -> Callable[[int], pnn.Network]:
    """``everything``, with another layer at one place, and other options."""

    def make(seed: int) -> pnn.Network:
        layers: list[Any] = [pnn.Input(5), pnn.Dense(16), pnn.BatchNorm1d(), pnn.ReLU(), pnn.Dropout(0.3), pnn.Dense(3)]
        layers[place] = layer()
        return pnn.Sequential(*layers, labels="abc", seed=seed, **options)

    return make


@pytest.mark.parametrize(
    ("network", "lines"),
    [
        (
            changed(1, lambda: pnn.Dense(8)),
            [
                "tensor 'dense_1.weight': float32 (16, 5) in the checkpoint, float32 (8, 5) now",
                "tensor 'dense_1.bias': float32 (16,) in the checkpoint, float32 (8,) now",
                "tensor 'batch_norm_1.weight': float32 (16,) in the checkpoint, float32 (8,) now",
                "tensor 'batch_norm_1.bias': float32 (16,) in the checkpoint, float32 (8,) now",
                "tensor 'batch_norm_1.running_mean': float32 (16,) (not trained) in the checkpoint, "
                "float32 (8,) (not trained) now",
                "tensor 'batch_norm_1.running_var': float32 (16,) (not trained) in the checkpoint, "
                "float32 (8,) (not trained) now",
                "tensor 'dense_2.weight': float32 (3, 16) in the checkpoint, float32 (3, 8) now",
            ],
        ),
        (
            changed(5, lambda: pnn.Dense(3, bias=False)),
            [
                "node 'dense_2': Gemm(dropout_1, dense_2.weight, dense_2.bias, transB=1) → dense_2 in the checkpoint, "
                "Gemm(dropout_1, dense_2.weight, transB=1) → dense_2 now",
                "tensor 'dense_2.bias': float32 (3,) in the checkpoint, none now",
            ],
        ),
        (
            changed(3, lambda: pnn.LeakyReLU(0.2)),
            [
                "node 'leaky_relu_1': none in the checkpoint, LeakyRelu(batch_norm_1, alpha=0.2) → leaky_relu_1 now",
                "node 'dropout_1': Dropout(relu_1, constant_1) → dropout_1 in the checkpoint, "
                "Dropout(leaky_relu_1, constant_1) → dropout_1 now",
                "node 'relu_1': Relu(batch_norm_1) → relu_1 in the checkpoint, none now",
            ],
        ),
        (
            changed(4, lambda: pnn.Dropout(0.5)),
            [
                "node 'constant_1': Constant(value=Tensor(dtype='float32', shape=(), data=(0.3,))) → constant_1 in the "
                "checkpoint, Constant(value=Tensor(dtype='float32', shape=(), data=(0.5,))) → constant_1 now"
            ],
        ),
        (
            changed(2, lambda: pnn.BatchNorm1d(momentum=0.2)),
            [
                "node 'batch_norm_1': BatchNormalization(dense_1, batch_norm_1.weight, batch_norm_1.bias, "
                "batch_norm_1.running_mean, batch_norm_1.running_var, epsilon=1e-05, momentum=0.9) → batch_norm_1 in "
                "the checkpoint, BatchNormalization(dense_1, batch_norm_1.weight, batch_norm_1.bias, "
                "batch_norm_1.running_mean, batch_norm_1.running_var, epsilon=1e-05, momentum=0.8) → batch_norm_1 now"
            ],
        ),
        (
            changed(0, lambda: pnn.Input(5, name="data")),
            [
                "input 'data': none in the checkpoint, float32 (batch, 5) now",
                "node 'dense_1': Gemm(input, dense_1.weight, dense_1.bias, transB=1) → dense_1 in the checkpoint, "
                "Gemm(data, dense_1.weight, dense_1.bias, transB=1) → dense_1 now",
                "input 'input': float32 (batch, 5) in the checkpoint, none now",
            ],
        ),
        (
            changed(0, lambda: pnn.Input(5), name="mine"),
            ["name of the graph: network in the checkpoint, mine now"],
        ),
    ],
    ids=["size", "bias", "activation", "ratio", "attribute", "input", "name"],
)
def test_another_network_is_refused_by_what_differs(
    run: Path, network: Callable[[int], pnn.Network], lines: list[str]
) -> None:
    heading, *found = refused(run, other(network=network)).splitlines()
    if not found:
        heading, _, line = heading.partition(f"{CANNOT}: ")
        found = [line]
    assert heading.startswith(f"{run / NEWEST}: ")
    assert [line.strip() for line in found] == lines


def test_a_parameter_that_is_not_trained_any_more_is_refused(run: Path) -> None:
    def frozen(seed: int) -> pnn.Network:
        network = EVERYTHING.network(seed)
        first, *rest = network.graph.parameters
        graph = replace(network.graph, parameters=(replace(first, trainable=False), *rest))
        return pnn.Network.from_graph(graph, network.parameters)

    assert "tensor 'dense_1.weight': float32 (16, 5) in the checkpoint, float32 (16, 5) (not trained) now" in refused(
        run, other(network=frozen)
    )


def test_nodes_in_another_order_are_refused(tmp_path: Path) -> None:
    def branches(seed: int) -> pnn.Network:
        x = pnn.Input(5)
        return pnn.Network(x, pnn.Tanh(name="a")(x) + pnn.Sigmoid(name="b")(x) + pnn.Dense(5)(x), seed=seed)

    def reordered(seed: int) -> pnn.Network:
        network = branches(seed)
        a, b, *rest = network.graph.nodes
        return pnn.Network.from_graph(replace(network.graph, nodes=(b, a, *rest)), network.parameters)

    Training(branches, draw(48, 5), draw(48, 5), {"loss": "mean_squared_error"}).run(checkpoint=tmp_path / "run")
    training = Training(reordered, draw(48, 5), draw(48, 5), {"loss": "mean_squared_error"})
    assert refused(tmp_path / "run", training).endswith(f"{CANNOT}: the nodes of the graph are in another order")


# -- the folder


def test_a_folder_that_holds_a_training_is_not_begun_anew(run: Path) -> None:
    assert refused(run, resume=False) == (
        f"{run} holds checkpoints of a training, up to {NEWEST}: "
        "resume=True goes on with it, another folder begins anew"
    )


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_checkpoints_cannot_be_resumed(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
        (folder / "checkpoint-1.safetensors").write_text("another's")
    message = f"{folder}: holds no checkpoint to resume from: without --resume (resume=True), it begins anew"
    assert refused(folder, error=FileError) == message
    with pytest.raises(FileError, match=re.escape(message)):
        standing(folder)


def test_what_cannot_be_a_folder_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for resume in (True, False):
        assert refused(tmp_path / "file", error=FileError, resume=resume) == (
            f"{tmp_path / 'file'}: expected a folder for checkpoints, found a file"
        )
        nowhere = tmp_path / "no" / "run"
        message = f"{nowhere}: cannot be made: there is no folder '{nowhere.parent}'"
        assert refused(tmp_path, error=FileError, resume=resume, checkpoint=nowhere) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "keep must be a whole number from 1, not 0"),
        ({"every": 0}, "every must be a whole number from 1 or None, not 0"),
        ({"every": 2.5}, "every must be a whole number from 1 or None, not 2.5"),
        ({"checkpoint": None}, "every and resume need checkpoint=, the folder of the checkpoints"),
        (
            {"checkpoint": None, "resume": False, "every": 3},
            "every and resume need checkpoint=, the folder of the checkpoints",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    assert refused(tmp_path / "run", **options) == message


def test_another_kind_of_generator(tmp_path: Path) -> None:
    def mersenne(seed: int) -> pnn.Network:
        network = EVERYTHING.network(seed)
        network.rng = np.random.Generator(np.random.MT19937(seed))
        return network

    network = mersenne(1)
    with pytest.raises(UsageError) as caught:
        network.fit(EVERYTHING.x, EVERYTHING.y, checkpoint=tmp_path / "run")
    assert str(caught.value) == "checkpoint= needs a network whose rng is numpy's PCG64, not MT19937"
    assert network.fit(EVERYTHING.x, EVERYTHING.y, epochs=1).rows
    assert not (tmp_path / "run").exists()


# -- the file


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_refused_with_what_to_do(run: Path) -> None:
    """What the file's error says, and what to do; having done it, training goes on."""
    wanted = EVERYTHING.run().outcome(run.parent)
    damage(run / NEWEST)
    message = refused(run, error=FormatError)
    assert re.fullmatch(
        rf"{re.escape(str(run / NEWEST))}: tensor 'training/best/\S+' is damaged .*; "
        r"remove it to go on from checkpoint-00000008\.safetensors",
        message,
    )
    (run / NEWEST).unlink()
    assert EVERYTHING.run(seed=5, checkpoint=run, resume=True).outcome(run.parent) == wanted


def test_where_the_only_checkpoint_is_damaged_the_advice_is_to_begin_anew(run: Path) -> None:
    for path in run.iterdir():
        if path.name != NEWEST:
            path.unlink()
    (run / NEWEST).write_bytes(b"")
    message = f"{run / NEWEST}: is empty; remove it to begin anew: there is no other"
    assert refused(run, error=FormatError) == message
    with pytest.raises(FormatError, match=re.escape(message)):
        standing(run)


def test_a_network_without_a_training(run: Path) -> None:
    EVERYTHING.network(1).save(run / "checkpoint-00000013.safetensors")
    assert refused(run, error=FormatError) == (
        f"{run / 'checkpoint-00000013.safetensors'}: holds a network, but not the state of its training; "
        f"remove it to go on from {NEWEST}"
    )


def forge(path: Path, drop: str | None = None, **changes: Any) -> None:
    """A checkpoint that is whole, but says something else of its training."""
    contents = format.load(path, allow_nonfinite=True)
    training = contents.manifest.training
    assert training
    tensors = {name: array for name, array in contents.tensors.items() if not drop or not name.startswith(drop)}
    kept = tuple(value for value in training.tensors if value.name in tensors)
    changed = replace(training, **{"tensors": kept, **changes})
    ready = prepare(carrier_of(path), replace(contents.manifest, training=changed))  # Which checks nothing.
    write(path, ready, tensors)


ROWS = tuple({"epoch": n, "loss": 1.0, "learning_rate": 1.0, "val_loss": -n, "val_accuracy": 1.0} for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 4}, "4 batches of an epoch are done, but an epoch has 4"),
        ({"epoch": 2}, "2 epochs of the training are done, but it has rows of the epochs [1, 2, 3]"),
        ({"rows": ROWS}, "epoch 2 is recorded as the best, but by the rows it is 3"),
        (
            {"rows": ({"epoch": 1}, {"epoch": 2}, {"epoch": 3, "loss": 1})},
            "the rows of the training do not have the same columns",
        ),
        (
            {"rows": tuple({"epoch": n} for n in (1, 2, 3))},
            "the rows have epoch, but should have epoch, learning_rate, loss, val_accuracy, val_loss",
        ),
        (
            {"drop": "training/state/dense_1.weight/first"},
            "tensor 'training/state/dense_1.weight/first' is missing: the optimizer needs it",
        ),
        ({"drop": "training/best/dense_1.weight"}, "epoch 2 is the best, but the tensors training/best/… are "),
        ({"drop": "training/best/", "best_epoch": None}, "epoch None is recorded as the best, but by the rows it is 2"),
        ({"best_epoch": None}, "there is no best epoch, but the tensors training/best/… are "),
        ({"best_epoch": 4}, "the best epoch of the training is 4, but 3 are done"),
    ],
)
def test_a_training_that_cannot_be_is_refused(run: Path, changes: dict[str, Any], message: str) -> None:
    forge(run / NEWEST, **changes)
    assert message in refused(run, error=FormatError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": "0x1\x1b[2J"}, r"gamma: 0x1\x1b[2J in the checkpoint, none now"),
        ({"epochs": "9" * 5000}, f"epochs: {'9' * 5000} in the checkpoint, 3 now"),
    ],
)
def test_settings_that_nobody_vouches_for(run: Path, settings: dict[str, str], message: str) -> None:
    manifest = format.load(run / NEWEST).manifest
    assert manifest.training
    forge(run / NEWEST, settings={**manifest.training.settings, **settings})
    assert refused(run).endswith(f"{CANNOT}: {message}")
    assert standing(run) == Standing(run / NEWEST, 4, 1, 3 if "gamma" in settings else 0)


# -- words for settings


class Silent:
    """Has no words of its own."""

    def __call__(self, batch: Array, rng: np.random.Generator) -> Array:
        return batch

    def method(self, batch: Array, rng: np.random.Generator) -> Array:
        return batch


class Talking(Silent):
    def __repr__(self) -> str:
        return "Talking(3)"


class Revealing(Silent):
    def __repr__(self) -> str:
        return f"Revealing({object()!r})"


@dataclass(frozen=True)
class Pair:
    first: Any
    second: Any = None


HERE = "test_checkpoint_refusals"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (0.1, "0.1"),
        (np.float64(0.1), "0.1"),
        (True, "True"),
        (hill, "trainings.hill"),
        (lambda epoch, epochs: 1.0, f"{HERE}.<lambda>"),
        (len, "builtins.len"),
        (np.mean, "numpy.mean"),
        (Silent, f"{HERE}.Silent"),
        (Silent(), f"{HERE}.Silent"),
        (Silent().method, f"{HERE}.Silent.method"),
        (Talking(), "Talking(3)"),
        (Revealing(), f"{HERE}.Revealing"),
        (Pair(hill, Pair(0.5, "x")), "Pair(first=trainings.hill, second=Pair(first=0.5, second='x'))"),
        (functools.partial(hill, 3, epochs=4), "partial(trainings.hill, 3, epochs=4)"),
        (functools.partial(Silent(), rng=Silent()), f"partial({HERE}.Silent, rng={HERE}.Silent)"),
    ],
)
def test_words_are_the_same_in_every_process(value: Any, words: str) -> None:
    assert describe(value) == words


def test_words_of_the_packages_own_are_those_that_python_writes() -> None:
    from portable_nn.data.augment import RandomAffine

    for value in (
        pnn.AdamW(0.01),
        pnn.SGD(0.1, momentum=0.9),
        RandomAffine(8, 8),
        pnn.StepDecay(3),
        pnn.Warmup(0.5, pnn.StepDecay(2)),
    ):
        assert describe(value) == repr(value)
