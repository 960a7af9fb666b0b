"""Options of ``train`` for schedules, groups, limits and averages: they do what ``fit`` does with the same options."""

from __future__ import annotations

import re

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.names import SCHEDULES
from portable_nn.data.dataset import read_dataset
from portable_nn.recipes.classifier import train_classifier
from portable_nn.training import schedules

TRAIN = ("train", "2-3-2", "data.csv", "--epochs", "3", "--out", "m.safetensors")


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(200, 2))
    np.savetxt("data.csv", np.column_stack([x[:, 0] > 0, x]), delimiter=",", fmt="%g")


CASES = {
    "--schedule cosine": {"schedule": pnn.CosineDecay()},
    "--schedule one-cycle:rise=0.2,start=0.1 --optimizer adam:clip_norm=0.1": {
        "schedule": pnn.OneCycle(0.1, 0.2),
        "clip_norm": 0.1,
    },
    "--schedule plateau:patience=1,monitor=val_accuracy,warm_up=1.5 --optimizer adam:accumulate=2": {
        "schedule": pnn.Warmup(1.5, pnn.ReduceOnPlateau(1, monitor="val_accuracy")),
        "accumulate": 2,
    },
    "--group *.bias:learning_rate=0.1,weight_decay=1e-3 --group dense_2:beta1=0.5 --optimizer adam:average=0.9": {
        "groups": {"*.bias": {"learning_rate": 0.1, "weight_decay": 1e-3}, "dense_2": {"beta1": 0.5}},
        "average": 0.9,
    },
}


@pytest.mark.parametrize("given", CASES)
def test_the_options_are_those_of_fit(run, given):
    assert run(*TRAIN, *given.split()).code == 0
    wanted = train_classifier("2-3-2", read_dataset("data.csv", width=2), epochs=3, **CASES[given]).network
    found = pnn.load("m.safetensors")
    for name, array in wanted.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--schedule foo", "invalid value for '--schedule': 'foo' is not one of 'constant', 'step', 'exponential'"),
        ("--schedule one-cycle:max=3", "--schedule one-cycle has no option 'max': it has start, rise, final, warm_up"),
        ("--schedule step", "--schedule step needs its option 'every', the epochs between two steps"),
        ("--schedule cosine:x", "--schedule cosine:x: expected NAME:OPTION=VALUE, with commas between several options"),
        ("--group x", "--group x: expected NAME:OPTION=VALUE, with commas between several options"),
        ("--group zz:learning_rate=1", "no parameter matches 'zz'"),
        ("--optimizer adam:clip_norm=0", "clip_norm must be a finite number above 0, not 0"),
        ("--optimizer adam:average=1", "average must be a number from 0 to less than 1, not 1"),
        ("--optimizer adam:accumulate=0", "accumulate must be a whole number from 1, not 0"),
    ],
)
def test_what_is_wrong_is_named_by_its_option(run, given, message):
    found = run(*TRAIN, *given.split())
    assert found.code == 2
    assert re.search(re.escape(message), found.err)


def test_every_schedule_that_stands_alone_has_a_name():
    assert sorted(SCHEDULES.values()) == sorted(name for name in schedules.__all__ if name != "Warmup")
