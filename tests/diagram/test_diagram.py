"""What is drawn of a model, as picture and as text for Graphviz."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import save
from portable_nn.diagram import Diagram, as_dot, diagram, draw
from portable_nn.diagram.boxes import ENDS, FAMILIES, OTHER, Box
from portable_nn.diagram.picture import COLOURS, MOST, shown
from portable_nn.operators import REGISTRY, Leaf, emit, trace
from portable_nn.operators.registry import family, find
from portable_nn.outputs.reports import inspect

ODD = 'say "hi" \\n {x|y} <b> $x^2$\x1b[1m ü'
"""A name with all that means something to Graphviz, to a formula, or to a terminal."""


def residual() -> pnn.Network:
    x = pnn.Input(3, 8, 8, name="image")
    h = pnn.Conv2d(3, 3, padding=1, name="conv")(x)
    return pnn.Network(x, pnn.Flatten(name="flat")(pnn.ReLU(name="relu")(h) + x))


def foreign(path: Path) -> Path:
    """A model with operators of another domain, a constant, and a graph within a node."""
    floats, booleans = TensorProto.FLOAT, TensorProto.BOOL
    inner = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["inner"])], "then", [], [helper.make_tensor_value_info("inner", floats, None)]
    )
    graph = helper.make_graph(
        [
            helper.make_node("Magic", ["x", "w"], ["h"], name=ODD, domain="com.acme"),
            helper.make_node("Constant", [], ["yes"], name="c", value=helper.make_tensor("", booleans, [], [True])),
            helper.make_node("If", ["yes"], ["y"], name="if", then_branch=inner, else_branch=inner),
        ],
        "g",
        [helper.make_tensor_value_info("x", floats, ["N", 4])],
        [helper.make_tensor_value_info("y", floats, None)],
        [helper.make_tensor("w", floats, [2], [1, 2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


# -- boxes and arrows


def test_boxes_and_arrows_of_a_network() -> None:
    found = diagram(inspect(residual()))
    assert found.boxes == (
        Box("input", "image", ("float32 (batch, 3, 8, 8)",), ENDS),
        Box("Conv", "conv", ("(batch, 3, 8, 8)", "84 parameters"), "weights"),
        Box("Relu", "relu", ("(batch, 3, 8, 8)",), "activation"),
        Box("Add", "add_1", ("(batch, 3, 8, 8)",), "arithmetic"),
        Box("Flatten", "flat", ("(batch, 192)",), "shape and place"),
        Box("output", "flat", ("float32 (batch, 192)",), ENDS),
    )
    assert set(found.arrows) == {(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5)}
    assert (found.title, found.notes) == ("network", ("4 nodes", "84 parameters"))


def test_a_model_with_operators_of_another_domain(tmp_path: Path) -> None:
    found = diagram(inspect(foreign(tmp_path / "m.onnx")))
    assert [(box.title, box.family) for box in found.boxes] == [
        ("input", ENDS),
        ("com.acme.Magic", OTHER),
        ("If", "shape and place"),
        ("output", ENDS),
    ]
    assert set(found.arrows) == {(0, 1), (1, 2), (2, 3)}  # The graphs in If read what Magic has made.
    assert found.notes == ("3 nodes", "2 parameters", "1 constant not drawn")
    whole = diagram(inspect(tmp_path / "m.onnx"), constants=True)
    assert [box.title for box in whole.boxes] == ["input", "com.acme.Magic", "Constant", "If", "output"]
    assert set(whole.arrows) == {(0, 1), (2, 3), (1, 3), (3, 4)}


def test_an_output_that_is_an_input() -> None:
    x = pnn.Input(2, name="x")
    found = diagram(inspect(pnn.Network(x, [x, pnn.ReLU()(x)])))
    assert set(found.arrows) == {(0, 1), (0, 2), (1, 3)}


def test_a_file_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.zeros(3))
    with pytest.raises(UsageError, match=r"a\.npz: holds arrays, not a network: there is nothing to draw$"):
        diagram(inspect(tmp_path / "a.npz"))


def test_every_family_has_a_colour() -> None:
    assert {operator.family for operator in REGISTRY.values()} <= set(FAMILIES)
    assert {*FAMILIES.values(), OTHER, ENDS} == set(COLOURS)


@pytest.mark.parametrize(
    ("operator", "family"),
    [
        ("Sin", "arithmetic"),
        ("Round", "arithmetic"),
        ("Softsign", "activation"),
        ("Conv", "weights"),
        ("MaxPool", "pool or sum"),
        ("BatchNormalization", "normalisation"),
        ("Identity", "shape and place"),
    ],
)
def test_the_colour_is_that_of_what_the_operator_does(operator: str, family: str) -> None:
    x = pnn.Input(2, 5, 5)
    weights = {"Conv": [2, 2, 1, 1], "BatchNormalization": [2]}
    count = {"Conv": 1, "BatchNormalization": 4}.get(operator, 0)
    extra = [Leaf(f"w{n}", "float32", tuple(weights[operator]), parameter=True) for n in range(count)]
    attributes = {"kernel_shape": [2, 2]} if operator == "MaxPool" else {}
    graph = trace([x], [emit(operator, x, *extra, **attributes)]).graph
    arrays = {value.name: np.ones(value.shape, np.float32) for value in graph.parameters}
    [box] = [box for box in diagram(inspect(pnn.Network.from_graph(graph, arrays))).boxes if box.title == operator]
    assert box.family == family


def test_operators_of_the_standard_that_are_not_registered_have_a_family_too() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    forms = dict.fromkeys(("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"), "linear")
    forms["MaxRoiPool"] = "reduction"
    assert {name: family(name) for name in forms} == forms
    assert {family(name) for name in names - forms.keys() if find(name) is None} == {"layout"}
    assert family("Relu", "com.example") is None


# -- Graphviz

TOKEN = re.compile(r'\s*(?:(?P<word>\w+)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>->|[{}\[\]=;]))')


def read_dot(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The labels of the nodes, as they are shown, and the edges, by the grammar of Graphviz."""
    tokens, place = [], 0
    while text[place:].strip():
        found = TOKEN.match(text, place)
        assert found, text[place : place + 40]
        tokens.append(found[0].strip())
        place = found.end()
    assert tokens[:2] == ["digraph", "{"]
    assert tokens[-1] == "}"
    labels, edges, statement = dict[str, str](), list[tuple[str, str]](), list[str]()
    for token in tokens[2:-1]:
        if token != ";":
            statement.append(token)
            continue
        if statement[1] == "->":
            edges.append((statement[0], statement[2]))
        else:
            assert (statement[1], statement[-1]) == ("[", "]")
            attributes = dict(zip(statement[2:-1:3], statement[4:-1:3], strict=True))
            assert set(statement[3:-1:3]) == {"="}
            if statement[0] not in {"graph", "node"}:
                labels[statement[0]] = re.sub(
                    r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), attributes["label"][1:-1]
                )
        statement = []
    assert not statement
    return labels, edges


def test_text_for_graphviz() -> None:
    labels, edges = read_dot(as_dot(diagram(inspect(residual()))))
    assert labels["n1"] == "Conv\nconv\n(batch, 3, 8, 8)\n84 parameters"
    assert list(labels) == [f"n{place}" for place in range(6)]
    assert set(edges) == {("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n0", "n3"), ("n3", "n4"), ("n4", "n5")}


def test_names_mean_nothing_to_graphviz(tmp_path: Path) -> None:
    text = as_dot(diagram(inspect(foreign(tmp_path / "m.onnx"))))
    labels, _ = read_dot(text)
    assert labels["n1"] == "com.acme.Magic\n" + ODD.replace("\x1b", "\\x1b") + "\n?\n2 parameters"
    assert '\n  n1 [label="com.acme.Magic\\nsay \\"hi\\" \\\\n {x|y}' in text
    assert "\x1b" not in text


# -- pictures


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def gids(figure: Any) -> set[str]:
    return {patch.get_gid() for patch in figure.axes[0].patches if patch.get_gid()}


def test_a_picture_says_everything() -> None:
    figure = draw(diagram(inspect(residual())))
    assert gids(figure) == {
        *(f"box/{place}" for place in range(6)),
        "arrow/0/1",
        "arrow/1/2",
        "arrow/2/3",
        "arrow/0/3",
        "arrow/3/4",
        "arrow/4/5",
    }
    said = texts(figure)
    for words in ("Conv", "conv", "84 parameters", "(batch, 192)", "network", "4 nodes, 84 parameters", "weights"):
        assert words in said


def overlapping(figure: Any, prefix: str) -> list[tuple[str, str]]:
    """Pairs of artists that share some place."""
    renderer = figure.canvas.get_renderer()
    found = [
        (patch.get_gid(), patch.get_window_extent(renderer))
        for patch in figure.axes[0].patches
        if (patch.get_gid() or "").startswith(prefix)
    ]
    return [
        (name, other)
        for place, (name, box) in enumerate(found)
        for other, another in found[:place]
        if box.overlaps(another)
    ]


@pytest.mark.long
@pytest.mark.parametrize("model", ["digits-cnn", "digits-gan"])
def test_boxes_of_shipped_models_lie_apart_and_within_the_picture(model: str) -> None:
    figure = draw(diagram(inspect(model)))
    assert not overlapping(figure, "box/")
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    for artist in [*figure.axes[0].patches, *figure.axes[0].texts]:
        extent = artist.get_window_extent(renderer)
        assert 0 <= extent.x0 < extent.x1 <= width
        assert 0 <= extent.y0 < extent.y1 <= height


@pytest.mark.parametrize("letter", ["W", "i", "/block/", "ü"])
def test_words_stay_in_their_boxes(letter: str) -> None:
    x = pnn.Input(3, name="x")
    figure = draw(diagram(inspect(pnn.Network(x, pnn.ReLU(name=letter * 500)(x)))))
    renderer = figure.canvas.get_renderer()
    box = next(patch for patch in figure.axes[0].patches if patch.get_gid() == "box/1").get_window_extent(renderer)
    cut = next(text for text in figure.axes[0].texts if text.get_text().startswith("…")).get_window_extent(renderer)
    assert box.x0 < cut.x0 < cut.x1 < box.x1
    assert cut.width > 0.8 * box.width


def long_chain(count: int) -> pnn.Network:
    """Blocks as in a residual network: so many layers that they take several columns."""
    x = pnn.Input(4, name="x")
    h: Any = x
    for _ in range(count):
        h = pnn.Tanh()(pnn.Tanh()(h)) + h
    return pnn.Network(x, h)


def test_many_layers_stand_in_columns() -> None:
    figure = draw(diagram(inspect(long_chain(14))))
    assert not overlapping(figure, "box/")
    width, height = figure.get_size_inches()
    assert 0.7 < width / height < 2.5


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_bytes_each_time(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        save(draw(diagram(inspect(residual()))), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_any_name_is_drawn(tmp_path: Path) -> None:
    """Warnings are errors here: the font lacks no letter, and ``$`` begins no formula."""
    figure = draw(diagram(inspect(foreign(tmp_path / "m.onnx"))))
    save(figure, tmp_path / "m.png")
    assert shown("日本 ü", 9) == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} ü"
    assert shown("a\nb", 9) == "a\\nb"
    assert shown("abcd", 9) == "abcd"
    assert shown("abcd", 0.22) == "…cd"
    assert shown("abcd", 0) == "…"


def test_arrows_that_go_back_and_in_circles_are_drawn() -> None:
    """As in files whose nodes stand in a wrong order, which are shown all the same."""
    box = Box("Relu", "r", (), "activation")
    figure = draw(Diagram("g", (box, box, box), ((0, 1), (1, 0), (2, 1), (2, 2)), ()))
    assert {"arrow/0/1", "arrow/1/0", "arrow/2/1"} == {gid for gid in gids(figure) if gid.startswith("arrow")}


def test_too_many_boxes() -> None:
    box = Box("Relu", "r", (), "activation")
    message = rf"^a picture has at most {MOST} boxes, and this would have {MOST + 1}: as text for Graphviz "
    with pytest.raises(UsageError, match=message):
        draw(Diagram("g", (box,) * (MOST + 1), (), ()))
