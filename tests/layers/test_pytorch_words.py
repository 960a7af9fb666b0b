"""PyTorch's modules in our words: the messages, the table in the documentation, and the differences that it lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.core.words import WORDS
from portable_nn.layers.pytorch import COUNTERPARTS, NEEDED, Renamed, translated
from portable_nn.operators import constant
from portable_nn.operators.differentiation import gradients

DOCS = Path(__file__).parents[2] / "docs" / "pytorch.md"

SAID: list[tuple[Callable[[], Any], str]] = [
    (lambda: pnn.Conv2d(3, 16, 3), "PyTorch's is Conv2d(filters=16, kernel=3) here, see docs/pytorch.md"),
    (
        lambda: pnn.Conv1d(3, 16, 3, 2, bias=False),
        "PyTorch's is Conv1d(filters=16, kernel=3, stride=2, bias=False) here",
    ),
    (lambda: pnn.Conv2d(3, out_channels=8, kernel_size=5), "PyTorch's is Conv2d(filters=8, kernel=5) here"),
    (lambda: pnn.ConvTranspose2d(8, 4, 2, 2), "PyTorch's is ConvTranspose2d(filters=4, kernel=2, stride=2) here"),
    (lambda: pnn.Dense(784, 200), "PyTorch's is Dense(units=200) here"),
    (lambda: pnn.BatchNorm2d(16), "PyTorch's is BatchNorm2d() here"),
    (lambda: pnn.BatchNorm1d(num_features=16, eps=0.1), "PyTorch's is BatchNorm1d(eps=0.1) here"),
    (lambda: pnn.GroupNorm(8, 32), "PyTorch's is GroupNorm(groups=8) here"),
    (lambda: pnn.InstanceNorm(16), "PyTorch's is InstanceNorm() here"),
    (
        lambda: pnn.LayerNorm([6, 5]),
        "axis must be a whole number, not [6, 5]; PyTorch's normalized_shape [6, 5] is axis=-2",
    ),
    (lambda: pnn.LayerNorm(64)(pnn.Input(64)), "axis 64 (the axis, not PyTorch's normalized_shape) on"),
    (lambda: pnn.RMSNorm(normalized_shape=64), "PyTorch's is RMSNorm(axis=-1) here"),
    (lambda: pnn.MaxPool2d(3, 2, 1), "PyTorch's is MaxPool2d(kernel=3, stride=2, padding=1) here"),
    (lambda: pnn.AvgPool1d(kernel_size=2), "PyTorch's is AvgPool1d(kernel=2) here"),
    (lambda: pnn.GlobalAvgPool(1), "PyTorch's is GlobalAvgPool() here"),
    (lambda: pnn.Upsample((8, 8)), "PyTorch's is Upsample(size=(8, 8)) here"),
    (lambda: pnn.Softmax(dim=1), "PyTorch's is Softmax(axis=1) here"),
    (lambda: pnn.LeakyReLU(negative_slope=0.2), "PyTorch's is LeakyReLU(alpha=0.2) here"),
    (lambda: pnn.ReLU(inplace=True), "PyTorch's is ReLU() here"),
    (lambda: pnn.Dropout(p=0.5), "PyTorch's is Dropout(ratio=0.5) here"),
    (lambda: pnn.Flatten(1), "PyTorch's is Flatten() here"),
    (lambda: pnn.LSTM(8, 16), "PyTorch's is LSTM(batch_first=False, units=16) here, see docs/pytorch.md"),
    (lambda: pnn.LSTM(8, 16, batch_first=True), "PyTorch's is LSTM(batch_first=True, units=16) here"),
    (
        lambda: pnn.GRU(input_size=8, hidden_size=16, num_layers=2, batch_first=True, bidirectional=True),
        "PyTorch's is GRU(batch_first=True, units=16, layers=2, bidirectional=True) here",
    ),
    (lambda: pnn.RNN(8, 16, 1, "relu"), "PyTorch's is RNN(batch_first=False, units=16, layers=1, nonlinearity='relu')"),
    (lambda: pnn.Embedding(num_embeddings=10, embedding_dim=4), "PyTorch's is Embedding(entries=10, features=4) here"),
    (lambda: pnn.MultiHeadAttention(16, 4, batch_first=True), "PyTorch's is MultiHeadAttention(heads=4) here"),
    (
        lambda: pnn.TransformerEncoderLayer(d_model=16, nhead=4, dim_feedforward=32),
        "PyTorch's is TransformerEncoderLayer(heads=4, units=32) here",
    ),
    (lambda: pnn.PixelShuffle(upscale_factor=2), "PyTorch's is PixelShuffle(factor=2) here"),
]


@pytest.mark.parametrize(("call", "message"), SAID, ids=[message for _, message in SAID])
def test_a_call_in_pytorchs_order_or_words_says_what_to_write(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((UsageError, GraphError), match=re.escape(message)):
        call()


def test_what_pytorch_does_not_take_either_stays_a_type_error() -> None:
    for call in (lambda: pnn.Conv2d(3, 16, 3, padding_mode="reflect"), lambda: pnn.Flatten(2), lambda: pnn.ReLU(a=1)):
        with pytest.raises(TypeError):
            call()


NET = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
X, Y = np.ones((4, 4), np.float32), np.arange(4) % 3

OTHER_WORDS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: pnn.SGD(lr=0.1), TypeError, "SGD has no option 'lr': PyTorch's lr is learning_rate here"),  # type: ignore
    (lambda: pnn.Adam(lr=0.1), TypeError, "Adam has no option 'lr': PyTorch's lr is learning_rate here"),  # type: ignore
    (lambda: pnn.Adam(1e-3, betas=(0.9, 0.99)), TypeError, "PyTorch's betas is beta1 and beta2 here"),  # type: ignore
    (lambda: NET.parameters(), ValueError, "parameters is a mapping here: network.parameters['dense_1.weight']"),
    (lambda: NET.state_dict(), AttributeError, "PyTorch's state_dict is network.parameters here, a mapping of"),
    (lambda: NET.load_state_dict({}), AttributeError, "PyTorch's load_state_dict is network.load_weights(path or"),
    (lambda: NET.compile(loss="mse"), AttributeError, "Keras's compile is part of fit here: network.fit(x, y, loss"),
    (lambda: NET.to("cuda"), AttributeError, "PyTorch's to is not needed here: networks run on the processor"),
    (lambda: NET.cuda(), AttributeError, "PyTorch's cuda is not needed here: networks run on the processor"),
    (lambda: NET.eval(), AttributeError, "PyTorch's eval is not needed here: fit trains and predict infers"),
    (lambda: NET.train(), AttributeError, "PyTorch's train is not needed here: fit trains and predict infers"),
    (lambda: NET.foo, AttributeError, "'Sequential' has no attribute 'foo'"),
    (lambda: pnn.Dense(3).weight, AttributeError, "PyTorch's weight is network.parameters['dense_1.weight'] here"),
    (lambda: pnn.SGD().step(), AttributeError, "PyTorch's step is done by fit here: network.fit(x, y, loss=…"),
    (lambda: pnn.History([]).history, AttributeError, "Keras's history is the history itself here: history['loss']"),
    (lambda: pnn.Sequential([pnn.Input(4), pnn.Dense(3)]), ValueError, "Sequential takes layers one by one, not as a"),  # type: ignore
    (lambda: pnn.Sequential(layers=[]), TypeError, "Keras's layers is given one by one here: Sequential(Input(784)"),  # type: ignore
    (lambda: pnn.Dense(10, activation="relu"), TypeError, "Dense has no option 'activation': Keras's activation is a"),
    (lambda: pnn.Dense(in_features=4, units=3), TypeError, "PyTorch's in_features is read from the input here"),
    (lambda: pnn.Conv2d(filters=16, kernel_size=3), TypeError, "PyTorch's kernel_size is kernel here"),
    (lambda: pnn.Conv2d(16, 3, strides=2), TypeError, "Conv2d has no option 'strides': Keras's strides is stride"),
    (lambda: pnn.LSTM(16, num_layers=2), TypeError, "PyTorch's num_layers is layers here"),
    (lambda: pnn.RNN(16, num_layers=2), TypeError, "PyTorch's num_layers is layers here"),
    (lambda: pnn.LSTM(units=16, input_size=8), TypeError, "PyTorch's input_size is read from the input here"),
    (lambda: pnn.GRU(16, return_sequences=True), TypeError, "Keras's return_sequences is what is done here unless la"),
    (lambda: pnn.LSTMCell(8, 16), AttributeError, "PyTorch's LSTMCell is network.stream() of a network with pnn.LSTM"),
    (lambda: pnn.MultiheadAttention(8, 2), AttributeError, "PyTorch's MultiheadAttention is MultiHeadAttention here"),
    (lambda: pnn.Conv2d(16, kernel_size=3), TypeError, "PyTorch's kernel_size is kernel here"),
    (lambda: pnn.Conv2D(16, 3), AttributeError, "Keras's Conv2D is pnn.Conv2d(filters, kernel) here"),
    (lambda: pnn.nn.Linear, AttributeError, "PyTorch's nn is the package itself here: pnn.Dense, pnn.Conv2d"),
    (lambda: NET.fit(X, Y, validation_data=(X, Y)), TypeError, "fit has no option 'validation_data': Keras's valida"),  # type: ignore
    (lambda: NET.fit(X, Y, lr=0.1), TypeError, "PyTorch's lr is an option of the optimizer here: optimizer=pnn.Ad"),  # type: ignore
    (lambda: NET.fit(X, Y, loss="mse"), ValueError, "not 'mse': Keras's mse is mean_squared_error here"),
    (lambda: NET.fit(X, Y, metrics="acc"), ValueError, "not 'acc': Keras's acc is accuracy here"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), OTHER_WORDS, ids=[message for _, _, message in OTHER_WORDS])
def test_other_words_are_errors_of_the_package_that_say_ours(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(PortableNNError, match=re.escape(message)) as caught:
        call()
    assert isinstance(caught.value, kind)


def test_every_word_is_another_here() -> None:
    """None is a name, attribute or option that there is, and the pictures of code in the table do exist."""
    import inspect

    samples: Mapping[str, Any] = {
        "network": NET, "layer": pnn.Dense(3), "optimizer": pnn.SGD(), "history": pnn.History([]), "pnn": pnn,
    }  # fmt: skip
    calls = {
        "fit(…)": [NET.fit], "Sequential(…)": [], "SGD(…), Adam(…)": [pnn.SGD, pnn.Adam, pnn.AdamW, pnn.RMSProp],
        "Dense(…), Conv2d(…)": [pnn.Dense, pnn.Conv2d, pnn.MaxPool2d, pnn.Dropout],
    }  # fmt: skip
    for where, known in WORDS.items():
        for word, meaning in known.items():
            assert not hasattr(samples.get(where), word), (where, word)
            assert all(word not in inspect.signature(call).parameters for call in calls.get(where, ())), (where, word)
            for name in re.findall(r"pnn\.(\w+)", meaning.here):
                assert hasattr(pnn, name), name
            for name in re.findall(r"network\.(\w+)", meaning.here):
                assert hasattr(NET, name), name
            for name in re.findall(r"(\w+)=", meaning.here):
                assert name in {*inspect.signature(NET.fit).parameters, "inputs", "outputs", "engine", "dtype",
                                "float16", "batch_size", "scale_factor", "class_weight",
                                "bidirectional", "last"}, name  # fmt: skip


def test_a_module_of_another_name_is_named() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Linear': PyTorch's Linear is Dense here"):
        pnn.Linear  # noqa: B018
    with pytest.raises(AttributeError, match=r"'Foo'$"):
        pnn.Foo  # noqa: B018


def test_every_parameter_is_pytorchs() -> None:
    nn = pytest.importorskip("torch").nn
    import inspect

    left_out = ("device", "dtype", "_weight", "_freeze")
    for name, row in COUNTERPARTS.items():
        theirs = [each for each in inspect.signature(getattr(nn, name)).parameters if each not in left_out]
        if name in ("RNN", "GRU", "LSTM"):  # A recurrent module: those of the base class, and for RNN one more.
            theirs = [each for each in inspect.signature(nn.RNNBase).parameters if each not in (*left_out, "mode")]
            theirs = [*theirs[:3], *(["nonlinearity"] if name == "RNN" else []), *theirs[3:]]
        assert list(row.parameters) == theirs[: len(row.parameters)], name
        assert set(theirs[len(row.parameters) :]) <= {"args", "kwargs", "bias", "min_value", "max_value"}, name
        usual = inspect.signature(nn.RNNBase if name in ("RNN", "GRU", "LSTM") else getattr(nn, name)).parameters
        defaults = {each: usual[each].default for each in row.parameters if each != "nonlinearity"}
        defaults = {each: NEEDED if value is inspect.Parameter.empty else value for each, value in defaults.items()}
        found = {each: row.parameters[each].usual for each in defaults}
        defaults |= {"activation": "relu"} if defaults.get("activation") is nn.functional.relu else {}
        assert found == defaults, name
        ours = inspect.signature(getattr(pnn, row.builder)).parameters
        assert {each.name for each in row.parameters.values() if each.name} <= set(ours), name


# -- the documentation


def _options(parameters: Mapping[str, Renamed]) -> list[str]:
    renamed = [f"`{name}` is `{each.name}`" for name, each in parameters.items() if each.name not in ("", name)]
    only = [
        f"`{name}` is always {' or '.join(map(repr, each.only))}"
        for name, each in parameters.items()
        if each.only is not None
    ]
    left = [f"`{name}`" for name, each in parameters.items() if not each.name and each.only is None]
    found = [*renamed, *only, *([f"without {', '.join(left)}"] if left else [])]
    return [re.sub(r" or \((1,? ?)+\)", ", or 1 for each axis", each) for each in found]


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def table() -> str:
    """The table of names: modules that differ in the number of axes alone share a row, which says where they differ."""
    modules: dict[tuple[str, str], dict[str, list[str]]] = {}
    for name, row in COUNTERPARTS.items():
        here = f"`{re.sub(r'[123]d$', 'Nd', row.builder)}`" + (
            f" with `{', '.join(f'{name}={_shown(value)}' for name, value in row.always.items())}`"
            if row.always
            else ""
        )
        modules.setdefault((here, re.sub(r"[123]d$", "Nd", name)), {})[name[-2]] = _options(row.parameters)
    rows: dict[tuple[str, str], list[str]] = {}
    for (here, name), options in modules.items():
        words = list[str]()
        for each in dict.fromkeys(option for found in options.values() for option in found):
            axes = [axis for axis, found in options.items() if each in found]
            words.append(each if len(axes) == len(options) else f"{each} (N is {' or '.join(axes)})")
        rows.setdefault((here, "; ".join(words)), []).append(name)
    lines = ["| PyTorch | here | options |", "|---|---|---|"]
    lines += [
        f"| {', '.join(f'`{name}`' for name in names)} | {here} | {text} |" for (here, text), names in rows.items()
    ]
    return "\n".join(lines)


def words() -> str:
    """The table of words: by where they are looked for, and whose they are."""
    rows: dict[tuple[str, str], list[str]] = {}
    for where, known in WORDS.items():
        for word, meaning in known.items():
            rows.setdefault((where, meaning.whose), []).append(f"`{word}`")
    lines = [f"| `{where}` | {whose} | {', '.join(names)} |" for (where, whose), names in rows.items()]
    return "\n".join(["| at | of | words |", "|---|---|---|", *lines])


def test_the_table_of_words_is_in_the_documentation() -> None:
    assert words() in DOCS.read_text(encoding="utf-8"), words()


def test_the_table_of_names_is_in_the_documentation() -> None:
    assert table() in DOCS.read_text(encoding="utf-8"), table()


def test_every_difference_in_the_documentation_is_tested() -> None:
    text = DOCS.read_text(encoding="utf-8").split("## Other numbers")[1]
    named = re.findall(r"^\| `?(\w+)`?[^|]*\|", text, re.MULTILINE)
    assert sorted(set(named) - {"layer"}) == sorted(DIFFERENCES)


def run(layer: Any, x: Any) -> Any:
    start = pnn.Input(*x.shape[1:], dtype=x.dtype.name)
    return pnn.Network(inputs=start, outputs=layer(start), seed=0).predict(x)


def _batch_norm(torch: Any) -> None:
    """running_var, and one value in each channel."""
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    net = pnn.Sequential(pnn.Input(2), pnn.BatchNorm1d(momentum=1.0, name="norm"), pnn.Dense(1), seed=0)
    net.fit(x, np.zeros((4, 1), np.float32), loss="mean_squared_error", epochs=1)
    module = torch.nn.BatchNorm1d(2, momentum=1.0)
    module(torch.from_numpy(x))
    np.testing.assert_allclose(net.parameters["norm.running_var"], x.var(0), rtol=1e-5)
    np.testing.assert_allclose(module.running_var.numpy(), x.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_array_equal(run(pnn.BatchNorm1d(track_running_stats=False), x[:1]), 0 * x[:1])
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(2, track_running_stats=False)(torch.from_numpy(x[:1]))


def _instance_norm(torch: Any) -> None:
    x = np.ones((2, 3, 1), np.float32)
    np.testing.assert_array_equal(run(pnn.InstanceNorm(), x), 0 * x)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        torch.nn.InstanceNorm1d(3)(torch.from_numpy(x))


def _norm_pool(torch: Any) -> None:
    """An odd order of numbers with signs, and a window that is cut off."""
    x = np.array([[[3.0, -4.0, 1.0]]], np.float32)
    np.testing.assert_array_equal(run(pnn.LPPool1d(1, 2, ceil_mode=True), x), [[[7, 1]]])
    found = torch.nn.LPPool1d(1, 2, ceil_mode=True)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found, [[[-1, 2]]])


def _clip(torch: Any) -> None:
    leaf = pnn.Input(2, name="x")
    [back] = gradients([pnn.Clip(-1, 1)(leaf)], [constant(np.ones((1, 2)), "float32")], [leaf])
    assert back is not None
    net = pnn.Network(inputs=leaf, outputs=back)
    np.testing.assert_array_equal(net.predict(np.array([[-1, 1]], np.float32)), [[0, 0]])
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    torch.clamp(x, -1, 1).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def _hardsigmoid(torch: Any) -> None:
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    torch.nn.Hardsigmoid()(x).backward()
    leaf = pnn.Input(1, name="x", dtype="float64")
    [back] = gradients([pnn.Hardsigmoid()(leaf)], [constant(np.ones((1, 1)), "float64")], [leaf])
    assert back is not None
    found = pnn.Network(inputs=leaf, outputs=back).predict(np.array([[0.5]]))
    assert found.item() == pytest.approx(1 / 6, abs=1e-16)
    assert x.grad.item() == float(np.float32(1) / np.float32(6))


def _upsample(torch: Any) -> None:
    """In double precision, a factor that is none in single."""
    x = np.random.default_rng(0).normal(size=(1, 1, 10))
    theirs = torch.nn.Upsample(scale_factor=1.1, mode="linear")(torch.from_numpy(x)).numpy()
    single = torch.nn.Upsample(scale_factor=float(np.float32(1.1)), mode="linear")(torch.from_numpy(x)).numpy()
    found = run(pnn.Upsample(scale_factor=1.1, mode="linear"), x)
    assert 1e-9 < np.abs(found - theirs).max() < 1e-6
    assert np.abs(found - single).max() < 1e-12


def _dense(torch: Any) -> None:
    """The first values: Glorot's and zeros; PyTorch draws both from ±1 / √inputs."""
    net = pnn.Sequential(pnn.Input(300), pnn.Dense(100, name="it"), seed=0)
    assert np.abs(net.parameters["it.weight"]).max() == pytest.approx(np.sqrt(6 / 400), rel=0.01)
    assert not net.parameters["it.bias"].any()
    module = torch.nn.Linear(300, 100)
    assert module.weight.abs().max().item() == pytest.approx(300**-0.5, rel=0.01)
    assert module.bias.abs().max().item() == pytest.approx(300**-0.5, rel=0.1)


def _embedding(torch: Any) -> None:
    net = pnn.Sequential(pnn.Input(1, dtype="int64"), pnn.Embedding(5, 3), seed=0)
    np.testing.assert_array_equal(net.predict([[-1]])[0, 0], net.parameters["embedding_1.weight"][4])
    with pytest.raises(IndexError, match="out of range"):
        torch.nn.Embedding(5, 3)(torch.tensor([[-1]]))


def _dropout(torch: Any) -> None:
    with pytest.raises(UsageError, match="ratio must be a number from 0 to less than 1, not 1"):
        pnn.Dropout(1)
    torch.nn.Dropout(1)


def _average_pool(torch: Any) -> None:
    x = np.ones((1, 1, 2, 2, 2), np.float32)
    np.testing.assert_allclose(run(pnn.AvgPool3d(3, padding=1, count_include_pad=False), x), np.ones((1, 1, 1, 1, 1)))
    with pytest.raises(RuntimeError, match="smaller than kernel size"):
        torch.nn.AvgPool3d(3, padding=1, count_include_pad=False)(torch.from_numpy(x))


def _recurrent(torch: Any) -> None:
    """Which axis is the batch, and the order of the gates."""
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    net = pnn.Sequential(pnn.Input(6, 3), pnn.GRU(2, name="gru"), seed=0)
    theirs = torch.nn.GRU(3, 2)
    with torch.no_grad():
        for side, role in (("ih", "weight"), ("hh", "recurrent")):
            z, r, n = np.split(net.parameters[f"gru.{role}_l0"][0], 3)
            getattr(theirs, f"weight_{side}_l0").copy_(torch.tensor(np.concatenate([r, z, n])))
        for side, rows in zip(("ih", "hh"), np.split(net.parameters["gru.bias_l0"][0], 2), strict=True):
            z, r, n = np.split(rows, 3)
            getattr(theirs, f"bias_{side}_l0").copy_(torch.tensor(np.concatenate([r, z, n])))
        wanted = theirs(torch.tensor(x.transpose(1, 0, 2)))[0].numpy()
    np.testing.assert_allclose(net.predict(x), wanted.transpose(1, 0, 2), atol=1e-6)


def _attention(torch: Any) -> None:
    """What a mask says."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    seen = np.array([[True, True, False], [True, True, True]])
    start, mask = pnn.Input(3, 4, name="x"), pnn.Input(1, 1, 3, name="mask", dtype="bool")
    net = pnn.Network([start, mask], pnn.MultiHeadAttention(2, name="a")(start, mask), seed=0)
    theirs = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(net.parameters["a.weight"]))
        theirs.out_proj.weight.copy_(torch.tensor(net.parameters["a.out_weight"]))
        each = torch.tensor(x)
        wanted = theirs(each, each, each, key_padding_mask=torch.tensor(~seen))[0].numpy()
    found = next(iter(net.predict({"x": x, "mask": seen[:, None, None]}).values()))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


DIFFERENCES: Mapping[str, Callable[[Any], None]] = {
    "BatchNormNd": _batch_norm,
    "InstanceNorm": _instance_norm,
    "LPPoolNd": _norm_pool,
    "AvgPool3d": _average_pool,
    "Clip": _clip,
    "Hardsigmoid": _hardsigmoid,
    "Upsample": _upsample,
    "Dense": _dense,
    "RNN": _recurrent,
    "MultiHeadAttention": _attention,
    "Embedding": _embedding,
    "Dropout": _dropout,
}
"""By the first word of their rows."""


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_that_the_documentation_lists(name: str) -> None:
    DIFFERENCES[name](pytest.importorskip("torch"))


def test_options_that_are_not_offered_have_no_translation() -> None:
    assert translated("Conv2d", 3, 16, 3, padding_mode="circular") is None
    assert translated("Softplus", beta=2) is None
    assert translated("Conv2d", 3, 16, 3, 1, 0, 1, 1, True, "zeros", 5) is None
    assert translated("NoSuchModule") is None
    assert issubclass(UsageError, PortableNNError)
