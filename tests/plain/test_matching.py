"""Which tensors of a file fit a network, and what is suggested for the others."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from portable_nn.core.graph import Parameter
from portable_nn.plain import Entry
from portable_nn.plain.matching import MatchRow, as_json, as_text, match
from portable_nn.plain.names import words


def needed(shapes):
    return [Parameter(name, "float32", shape) for name, shape in shapes.items()]


def entries(shapes):
    return {name: Entry("float32", shape, 4 * math.prod(shape)) for name, shape in shapes.items()}


def suggested(found, wanted):
    """For each parameter the name that is suggested, with the transposition where there is one."""
    rows = match(entries(found), needed(wanted)).rows
    return {row.name: (row.suggestion, row.axes) if row.axes else row.suggestion for row in rows}


SIZES = [784, 200, 200, 200, 10]
DENSE = {
    f"dense_{place}.{part}": shape
    for place, (wide, narrow) in enumerate(pairwise(SIZES), start=1)
    for part, shape in {"weight": (narrow, wide), "bias": (narrow,)}.items()
}
"""Four dense layers, the middle two of the same shape."""


def renamed(weight, bias, *, turned=False, start=0, step=1):
    """The same as another project has it."""
    found = {}
    for place, (wide, narrow) in enumerate(pairwise(SIZES)):
        number = start + step * place
        found[weight(number)] = (wide, narrow) if turned else (narrow, wide)
        found[bias(number)] = (narrow,)
    return found


def keras(number):
    return f"dense_{number}" if number else "dense"


# -- statuses


def test_each_status():
    found = match(
        entries({"a.weight": (3, 2), "a.bias": (4,), "b.weight": (2, 3), "extra": (9,), "c.kernel": (5, 4)}),
        needed({"a.weight": (3, 2), "a.bias": (3,), "b.weight": (3, 2), "c.weight": (4, 5), "d": (6, 6)}),
    )
    assert found.rows == (
        MatchRow("a.weight", (3, 2), "fits", (3, 2)),
        MatchRow("a.bias", (3,), "shape differs", (4,)),
        MatchRow("b.weight", (3, 2), "shape differs", (2, 3), axes=(1, 0)),
        MatchRow("c.weight", (4, 5), "missing", (5, 4), "c.kernel", (1, 0)),
        MatchRow("d", (6, 6), "missing"),
    )
    assert found.left_over == ("extra",)
    assert not found.fits


def test_all_fit():
    found = match(entries(DENSE), needed(DENSE))
    assert found.fits
    assert found.left_over == ()
    assert {row.status for row in found.rows} == {"fits"}


def test_no_dimensions():
    found = match(entries({"a": (), "b": ()}), needed({"a": (), "c": (), "d": (1,)}))
    assert found.rows == (
        MatchRow("a", (), "fits", ()),
        MatchRow("c", (), "missing", (), "b"),
        MatchRow("d", (1,), "missing"),
    )


@pytest.mark.parametrize(
    ("found", "wanted", "axes"),
    [
        ((5, 4), (4, 5), (1, 0)),
        ((5, 5, 3, 8), (8, 3, 5, 5), (3, 2, 0, 1)),
        ((8, 3, 5, 6), (5, 6, 3, 8), (2, 3, 1, 0)),
        ((7, 3, 8), (8, 3, 7), (2, 1, 0)),
        ((2, 3, 4, 5, 6), (6, 5, 2, 3, 4), (4, 3, 0, 1, 2)),
        ((5, 4), (4, 6), ()),
        ((5, 4), (20,), ()),
        ((2, 3, 4, 5), (3, 2, 4, 5), ()),
    ],
)
def test_transpositions_are_those_of_numpy(found, wanted, axes):
    (row,) = match(entries({"w": found}), needed({"w": wanted})).rows
    assert row.axes == axes
    if axes:
        assert np.zeros(found).transpose(row.axes).shape == wanted


# -- suggestions


def test_keras_2_files():
    """Keras counts from nothing, we from 1, and both have a dense_1; its kernels are (in, out), also square ones."""
    found = renamed(
        lambda n: f"model_weights/{keras(n)}/{keras(n)}/kernel:0",
        lambda n: f"model_weights/{keras(n)}/{keras(n)}/bias:0",
        turned=True,
    )
    assert suggested(found, DENSE) == {
        "dense_1.weight": ("model_weights/dense/dense/kernel:0", (1, 0)),
        "dense_1.bias": "model_weights/dense/dense/bias:0",
        "dense_2.weight": ("model_weights/dense_1/dense_1/kernel:0", (1, 0)),
        "dense_2.bias": "model_weights/dense_1/dense_1/bias:0",
        "dense_3.weight": ("model_weights/dense_2/dense_2/kernel:0", (1, 0)),
        "dense_3.bias": "model_weights/dense_2/dense_2/bias:0",
        "dense_4.weight": ("model_weights/dense_3/dense_3/kernel:0", (1, 0)),
        "dense_4.bias": "model_weights/dense_3/dense_3/bias:0",
    }


def test_keras_3_files_with_the_state_of_their_optimizer():
    found = renamed(lambda n: f"layers/{keras(n)}/vars/0", lambda n: f"layers/{keras(n)}/vars/1", turned=True)
    momenta = {f"optimizer/vars/{place}": shape for place, shape in enumerate(found.values())}
    result = match(entries(momenta | found), needed(DENSE))
    assert [row.suggestion for row in result.rows] == list(found)
    assert [row.axes for row in result.rows] == [(1, 0), ()] * 4
    assert result.left_over == tuple(momenta)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module.", "net.", "classifier."])
def test_torch_files(prefix):
    found = renamed(lambda n: f"{prefix}{n}.weight", lambda n: f"{prefix}{n}.bias", step=2)
    assert list(suggested(found, DENSE).values()) == list(found)


def test_more_than_nine_of_a_series():
    wanted = {f"layer_{n}.weight": (8, 8) for n in range(1, 13)}
    found = {f"blocks.{n}.w.weight": (8, 8) for n in range(12)}
    mixed = dict(random.Random(0).sample(sorted(found.items()), len(found)))
    assert list(suggested(mixed, wanted).values()) == list(found)


def test_a_large_network_with_a_prefix():
    parts = {"attention.weight": (16, 16), "attention.bias": (16,), "norm.weight": (16,), "norm.bias": (16,)}
    wanted = {f"encoder.{n}.{part}": shape for n in range(300) for part, shape in parts.items()}
    found = {f"model.{name}": shape for name, shape in wanted.items()}
    assert list(suggested(found, wanted).values()) == list(found)


def test_the_book():
    found, wanted = {"wih": (200, 784), "who": (10, 200)}, {"hidden.weight": (200, 784), "digit.weight": (10, 200)}
    assert suggested(found, wanted) == {"hidden.weight": "wih", "digit.weight": "who"}


def test_normalisations_have_four_of_a_shape():
    wanted = {f"norm.{part}": (8,) for part in ("weight", "bias", "running_mean", "running_var")}
    for names in (
        ("bn/gamma:0", "bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0"),
        ("layers/bn/vars/0", "layers/bn/vars/1", "layers/bn/vars/2", "layers/bn/vars/3"),
        ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"),
    ):
        found = dict.fromkeys(reversed(names), (8,))
        assert tuple(suggested(found, wanted).values()) == names


def test_the_nearest_name():
    wanted = {"encoder.weight": (7, 7), "decoder.weight": (7, 7)}
    found = {"the_decoder.weight": (7, 7), "the_encoder.weight": (7, 7)}
    assert suggested(found, wanted) == {
        "encoder.weight": "the_encoder.weight",
        "decoder.weight": "the_decoder.weight",
    }


def test_square_matrices_whose_names_tell_that_they_are_transposed():
    assert suggested({"hidden/kernel": (7, 7)}, {"hidden.weight": (7, 7)}) == {
        "hidden.weight": ("hidden/kernel", (1, 0))
    }
    assert suggested({"x.kernel": (7, 7)}, {"hidden.kernel": (7, 7)}) == {"hidden.kernel": "x.kernel"}


def test_nothing_is_suggested_where_it_could_be_either():
    assert suggested({"a1": (7,), "a2": (7,)}, {"a.bias": (7,)}) == {"a.bias": ""}
    assert suggested({"zzz": (7,)}, {"a.bias": (7,), "b.bias": (7,)}) == {"a.bias": "", "b.bias": ""}


def test_nothing_is_suggested_of_another_shape_or_meaning():
    assert suggested({"a/kernel": (7, 8), "a/moving_mean": (7,)}, {"a.weight": (7, 7), "a.bias": (7,)}) == {
        "a.weight": "",
        "a.bias": "",
    }


def test_what_fits_already_is_suggested_for_nothing_else():
    assert suggested({"a.bias": (7,)}, {"a.bias": (7,), "b.bias": (7,)}) == {"a.bias": "", "b.bias": ""}


def test_each_name_is_suggested_once_whatever_the_order():
    wanted = {f"{name}.weight": (5, 5) for name in ("alpha", "alphabet", "alpine", "beta", "better")}
    found = [(f"net.{name}.w", (5, 5)) for name in ("alphab", "alpin", "bet", "alph", "bette", "x")]
    first = suggested(dict(found), wanted)
    names = [name for name in first.values() if name]
    assert len(names) == len(set(names)) >= 3
    for seed in range(5):
        mixed = random.Random(seed).sample(found, len(found))
        assert suggested(dict(mixed), wanted) == first


def test_names_that_are_made_to_take_long(recwarn):
    """Long names are left out, and of very many only what is alike but for its numbers is compared."""
    assert suggested({"a_" * 10**5 + "bias": (7,)}, {"b.bias": (7,)}) == {"b.bias": ""}
    many = {f"{n:x}".translate(str.maketrans("0123456789", "ghijklmnop")): (7,) for n in range(2000)}
    assert set(suggested(many, {f"b.{name}": (7,) for name in many}).values()) <= {"", *many}


@pytest.mark.parametrize(
    ("name", "stem", "role"),
    [
        ("model_weights/dense_1/dense_1/kernel:0", "dense_1", "weight"),
        ("layers/dense/vars/1", "dense", "bias"),
        ("module.features.0.weight", "features_0", "weight"),
        ("bn.running_var", "bn", "running_var"),
        ("bn/moving_variance:0", "bn", "running_var"),
        ("embedding/embeddings:0", "embedding", "weight"),
        ("embedding.weight", "embedding", "weight"),
        ("Größe.Weight", "größe", "weight"),
        ("weight", "", "weight"),
        ("wih", "wih", ""),
        ("model", "model", ""),
        ("", "", ""),
    ],
)
def test_names_in_comparable_form(name, stem, role):
    assert words(name)[:2] == (stem, role)


# -- what is printed


def test_the_text():
    found = match(
        entries({"a.weight": (3, 2), "b.weight": (2, 3), "k/kernel": (5, 5, 3, 8), "\x1b[31m": (9,)}),
        needed({"a.weight": (3, 2), "b.weight": (3, 2), "c.weight": (8, 3, 5, 5), "d.weight": (6,)}),
    )
    assert as_text(found).splitlines() == [
        "tensor    needed        found         result",
        "a.weight  (3, 2)        (3, 2)        fits",
        "b.weight  (3, 2)        (2, 3)        shape differs; it would fit transposed",
        "c.weight  (8, 3, 5, 5)  (5, 5, 3, 8)  missing; perhaps k/kernel, transposed (3, 2, 0, 1)",
        "d.weight  (6,)                        missing",
        "",
        r"left over in the file: \x1b[31m",
        "",
        "as import --against takes it: --rename 'b.weight=b.weight.T' --rename 'k/kernel=c.weight.transpose(3,2,0,1)'",
        "",
        "1 of 4 tensors fit, and 1 of the file are left over: they are of another network",
    ]


def test_gates_of_pytorch_are_no_other_network():
    theirs = entries({"rnn.weight_ih_l0": (32, 4), "rnn.bias_hh_l1_reverse": (32,), "head.bias": (2,)})
    text = as_text(match(theirs, needed({"rnn.weight_l0": (1, 32, 4), "head.bias": (2,)})))
    assert text.endswith("2 of the file are left over: gates have another order in PyTorch: import --against tells")


def test_much_that_is_left_over_is_not_all_printed():
    found = match(entries({f"t{n}": (n,) for n in range(1000)}), [])
    assert "t18, t19, … (1,000)" in as_text(found)
    assert "t20," not in as_text(found)
    assert len(as_json(found)["left_over"]) == 1000


def test_json():
    found = as_json(match(entries({"a/kernel": (2, 3)}), needed({"a.weight": (3, 2)})))
    assert found == {
        "fits": False,
        "tensors": [
            {
                "name": "a.weight",
                "needed": (3, 2),
                "status": "missing",
                "found": (2, 3),
                "suggestion": "a/kernel",
                "axes": (1, 0),
            }
        ],
        "left_over": [],
    }
