"""What is asked of an export beyond the network as it is; expectations come from onnxruntime and from plain numpy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from cases import CASES
from cases.case import Case
from onnx import helper, numpy_helper
from onnx_cases import form_of

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, UnsupportedError, UsageError, VerificationError
from portable_nn.core.graph import OPSET, Graph
from portable_nn.core.text import size
from portable_nn.engines.plan import Plan
from portable_nn.format import InputInfo
from portable_nn.layers import Input
from portable_nn.network import Network
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import REGISTRY, constant, emit, integers, trace
from portable_nn.preprocessing.steps import (
    CentreCropStep,
    ColourStep,
    GreyscaleStep,
    NormaliseStep,
    PolarityStep,
    Preprocessing,
    ReshapeStep,
    ResizeStep,
    ScaleStep,
    TransposeStep,
)

OPSETS = range(OLDEST_WRITTEN, OPSET + 1)
SAMPLES = sorted(find_model("digits").samples.glob("*.png"))


def theirs(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime makes of a file."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def shape_of(path: Path) -> list[int | str]:
    [value] = onnx.load(path).graph.input
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


# -- every operator at every opset


STANDARD = [
    case
    for case in CASES
    if not (case.domain or (case.operator == "MaxUnpool" and len(case.inputs) == 3 and 2 not in case.constants))
]
"""Not where data decide output_shape: runtimes disagree on what the indices then count through."""

BY_OPERATOR: dict[str, list[Case]] = defaultdict(list)
for each in STANDARD:
    BY_OPERATOR[each.operator].append(each)


HALF_SUPPORTED = {"Attention"}
"""What onnxruntime has a kernel for that refuses some of what the standard allows: masks that broadcast."""


def in_numpy(case: Case) -> tuple[Graph, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A case as a graph, its inputs, and its outputs in numpy."""
    leaves, outputs = case.build("float32")
    graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
    plan = Plan(graph, {name: array.shape for name, array in feeds.items()}, {})
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    return graph, feeds, plan.outputs


def opsets_that_agree(case: Case, *, check: bool = False) -> Iterator[tuple[int, str]]:
    """What becomes of a case at each opset: ``same``, or why not; an opset that cannot say it names one that can."""
    graph, feeds, ours = in_numpy(case)
    known = dict[tuple[bytes, tuple[int, ...]], str]()
    for opset in OPSETS:
        try:
            model = to_model(graph, {}, opset=opset)
        except UsageError as error:
            lowest = int(str(error).split("; opset ")[1].removesuffix(" is the lowest that can"))
            to_model(graph, {}, opset=max(opset + 1, lowest))
            yield opset, "refused"
            continue
        assert model.ir_version == helper.find_min_ir_version_for(list(model.opset_import))
        form = form_of(model)
        if form in known:
            yield opset, known[form]
            continue
        if check:  # Which takes as long as all the rest.
            onnx.checker.check_model(model, full_check=True)
        try:
            found = Session(to_bytes(model), threads=1).run(feeds)
        except (UnsupportedError, FormatError) as error:
            if not isinstance(error, UnsupportedError) and case.operator not in HALF_SUPPORTED:
                raise
            known[form] = "no kernel"
            yield opset, known[form]
            continue
        for name, array in ours.items():
            assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
            made = found[name]
            if made.dtype == np.float32:  # onnxruntime has the lowest number where a mask leaves something out.
                made = np.where(made < -3e38, -np.inf, made)
            np.testing.assert_allclose(made, array, rtol=1e-5, atol=1e-5, err_msg=f"opset {opset}")
        known[form] = "same"
        yield opset, known[form]


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", sorted(name for domain, name in REGISTRY if not domain))
def test_an_operator_is_written_at_every_opset_and_onnxruntime_gives_the_same(operator: str) -> None:
    for case in BY_OPERATOR[operator]:
        found = dict(opsets_that_agree(case))
        if "refused" not in found.values() and "same" in found.values():
            break
    else:
        pytest.fail(f"no case of {operator} is written at each opset and runs")
    assert len(found) == 13
    # What newer versions of onnxruntime lack, it has in older forms.
    assert list(found.values()).count("same") >= 9


@pytest.mark.long
@pytest.mark.parametrize("case", STANDARD, ids=str)
def test_every_case_is_written_at_every_opset_that_has_the_words(case: Case) -> None:
    found = list(opsets_that_agree(case, check=True))
    kinds = [kind for _, kind in found]
    assert kinds == sorted(kinds, key=lambda kind: kind != "refused")  # Newer opsets say no less.
    assert found[-1][1] != "refused"


# -- sizes


def two_sizes() -> Network:
    x = pnn.Input(3, "height", "width", name="x")
    h = pnn.ReLU()(pnn.Conv2d(4, 3, padding=1)(x))
    return Network(x, pnn.Dense(2, name="y")(pnn.Flatten()(emit("GlobalAveragePool", h))), seed=0)


def test_sizes_become_numbers(tmp_path: Path) -> None:
    net = two_sizes()
    report = export_onnx(net, tmp_path / "a.onnx", batch=2, sizes={"height": 8, "width": 6})
    assert report.outputs.batches == (2,)
    assert shape_of(tmp_path / "a.onnx") == [2, 3, 8, 6]
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)
    np.testing.assert_allclose(theirs(tmp_path / "a.onnx", x=x)[0], net.predict(x), atol=1e-5)
    back = read_onnx(tmp_path / "a.onnx")
    assert (back.notes, back.network.graph.inputs[0].shape) == ((), (2, 3, 8, 6))


def test_one_size_may_stay_open(tmp_path: Path) -> None:
    export_onnx(two_sizes(), tmp_path / "a.onnx", sizes={"height": 8})
    assert shape_of(tmp_path / "a.onnx") == ["batch", 3, 8, "width"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"hieght": 8}}, "no size is called 'hieght': did you mean 'height'?"),
        ({"sizes": {"z": 8}}, "no size is called 'z': the inputs have batch, height, width"),
        ({"sizes": {"height": 0}}, "the size 'height' must be at least 1, not 0"),
        ({"batch": 0}, "the size 'batch' must be at least 1, not 0"),
        ({"batch": 2, "sizes": {"batch": 3}}, "the batch, 'batch', is to be 2 and 3"),
    ],
    ids=["misspelt", "unknown", "zero", "no batch", "twice"],
)
def test_sizes_that_cannot_be(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        export_onnx(two_sizes(), tmp_path / "a.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_the_nodes_cannot_have(tmp_path: Path) -> None:
    x = Input(3, "width", name="x")
    kernel = constant(np.ones((1, 3, 5)), "float32")
    with pytest.raises(UsageError, match=r"^the nodes cannot have width 2: 'c' \(Conv\): .*"):
        export_onnx(Network(x, emit("Conv", x, kernel, name="c")), tmp_path / "a.onnx", sizes={"width": 2})


def test_a_batch_that_is_a_number_has_no_name_to_fix(tmp_path: Path) -> None:
    net = Network(x := Input(3, name="x", batch=2), emit("Relu", x))
    with pytest.raises(UsageError, match=r"^the batch has a size already, 2: --batch-size any frees it$"):
        export_onnx(net, tmp_path / "a.onnx", batch=2)
    x, y = Input(3, name="x", batch="n"), Input(3, name="y", batch="m")
    with pytest.raises(UsageError, match=r"^the first sizes of the inputs are n and m: --dim NAME=SIZE says which is "):
        export_onnx(Network([x, y], [emit("Relu", x), emit("Relu", y)]), tmp_path / "a.onnx", batch=2)
    with pytest.raises(UsageError, match=r"^no size is called 'n': all sizes are numbers already$"):
        export_onnx(net, tmp_path / "a.onnx", sizes={"n": 2})


# -- any batch


def fixed(*outputs: str, batch: int = 2) -> Network:
    """A network as exporters write it whose batch is a number: shapes name it."""
    x = Input(4, 3, name="x", batch=batch)
    flat = emit("Reshape", x, integers([batch, 12]), name="flat")
    token = emit("Expand", emit("ReduceMean", flat, integers([1])), integers([batch, 12]), name="token")
    found = {
        "y": emit("Softmax", flat + token, name="y"),
        "mixed": emit("Reshape", x, integers([batch * 4, 3]), name="mixed"),
        "of all": emit("ReduceMean", x, integers([0]), name="of all"),
        "shifted": emit("Sub", x, emit("ReduceMean", x, integers([0])), name="shifted"),
    }
    return Network(x, [found[name] for name in outputs or ("y",)])


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_that_was_a_number_may_be_any(tmp_path: Path, batch: int) -> None:
    net = fixed(batch=batch)
    report = export_onnx(net, tmp_path / "a.onnx", dynamic=True)
    assert report.notes == (f"the batch, which was {batch}, may be of any size",)
    assert report.outputs.batches == (1, 3)
    assert shape_of(tmp_path / "a.onnx") == ["batch", 4, 3]
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    parts = [net.predict(part) for part in np.split(x, 6 // batch)]
    np.testing.assert_allclose(theirs(tmp_path / "a.onnx", x=x)[0], np.concatenate(parts), atol=1e-6)
    names = {node.name for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert {"flat", "token", "y"} <= names
    export_onnx(net, tmp_path / "b.onnx", dynamic=True, batch=5)
    assert shape_of(tmp_path / "b.onnx") == [5, 4, 3]


def test_a_batch_that_is_any_stays(tmp_path: Path) -> None:
    report = export_onnx(two_sizes(), tmp_path / "a.onnx", dynamic=True)
    assert report.notes == ("the batch may be of any size as it is: batch",)


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (
            "mixed",
            UsageError,
            r"'mixed' \(Reshape\): an input of shape \(batch, 4, 3\) cannot take the shape \(8, 3\)$",
        ),
        ("of all", UsageError, r"it is not the first size of output 'of all', float32 \(1, 4, 3\)$"),
        (
            "shifted",
            VerificationError,
            r"output 'shifted' differs by \d\.\d+ between 6 examples at once and 2 at a time; \S+ would be allowed$",
        ),
    ],
)
def test_what_depends_on_the_batch_is_named(tmp_path: Path, output: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^the batch, which is 2, cannot be any: " + message):
        export_onnx(fixed(output), tmp_path / "a.onnx", dynamic=True)
    assert list(tmp_path.iterdir()) == []


def test_inputs_whose_first_sizes_differ_have_no_batch(tmp_path: Path) -> None:
    x, y = Input(3, name="x", batch=2), Input(3, name="y", batch=4)
    net = Network([x, y], [emit("Relu", x), emit("Relu", y)])
    with pytest.raises(UsageError, match=r"^the batch cannot be any: the inputs have not one first size \(x: .*, y: "):
        export_onnx(net, tmp_path / "a.onnx", dynamic=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Of the exporter for old opsets.
def test_a_model_that_torch_wrote_for_one_example_takes_any(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = torch.nn.Conv2d(3, 8, 2, 2), torch.nn.Linear(8, 8)

        def forward(self, x: object) -> object:
            h = self.patches(x)
            n, c, height, width = h.shape
            h = self.mix(h.reshape(n, c, height * width).transpose(1, 2))
            return h.reshape(n, height * width * 2, c // 2).mean(1)

    net = Net().eval()
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, 6, 6),),
        tmp_path / "t.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        output_names=["y"],
    )
    export_onnx(import_onnx(tmp_path / "t.onnx"), tmp_path / "a.onnx", dynamic=True)
    x = np.random.default_rng(0).normal(size=(5, 3, 6, 6)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(theirs(tmp_path / "a.onnx", x=x)[0], net(torch.from_numpy(x)).numpy(), atol=1e-6)


# -- a file beside


def test_weights_of_more_than_a_limit_go_into_a_file_beside(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(40), pnn.Dense(50), seed=0)  # 8,200 bytes
    assert export_onnx(net, tmp_path / "a.onnx", external_data=8200).data is None
    report = export_onnx(net, tmp_path / "a.onnx", external_data=8199)
    assert report.data is not None
    assert report.data.stat().st_size == 8000  # The bias stays in the model.
    assert report.bytes < 8000


def test_what_has_more_than_2_gib_goes_there_whatever_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portable_nn.converters.onnx.exporting.MAX_BYTES", 8000)
    monkeypatch.setattr("portable_nn.converters.onnx.exporting.MARGIN", 0)
    net = pnn.Sequential(pnn.Input(40), pnn.Dense(50), seed=0)
    assert export_onnx(net, tmp_path / "a.onnx", external_data=10**12).data is not None
    assert export_onnx(net, tmp_path / "b.onnx").data is not None


# -- preprocessing


def older(net: Network, kind: str, steps: Preprocessing) -> Network:
    """``net`` as an older file has it, with arithmetic beside its graph."""
    return Network.from_graph(net.graph, net.parameters, inputs=[InputInfo("x", kind, steps)], outputs=net.outputs)


def of_pictures(steps: Preprocessing, *shape: int, dtype: str = "float32") -> Network:
    x = Input(*shape, name="x", dtype=dtype)
    return older(Network(x, pnn.Dense(3, name="y")(pnn.Flatten()(x)), seed=0), "image", steps)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = (
    ColourStep(),
    ResizeStep(20, 24),
    CentreCropStep(16, 20),
    ScaleStep(1 / 255),
    TransposeStep((2, 0, 1)),
    NormaliseStep(MEAN, STD),
)
CHANNELS_LAST = (
    ColourStep(),
    ResizeStep(4, 5),
    NormaliseStep((120, 110, 100), (60, 61, 62), axis=2),
    ScaleStep(2.0, -0.5),
)
DIGITS = (GreyscaleStep(), ResizeStep(6, 6), PolarityStep("light"), ScaleStep(0.99 / 255, 0.01), ReshapeStep((36,)))
FLAT = (ColourStep(), ResizeStep(4, 5), TransposeStep((2, 0, 1)), ScaleStep(1 / 255), ReshapeStep((60,)))


def imagenet(x: np.ndarray) -> np.ndarray:
    return ((x / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def book(x: np.ndarray) -> np.ndarray:
    return x * (0.99 / 255) + 0.01


@pytest.mark.parametrize(
    ("steps", "shape", "goes_in", "inside", "formula"),
    [
        (IMAGENET, (3, 16, 20), [16, 20, 3], 3, imagenet),
        (CHANNELS_LAST, (4, 5, 3), [4, 5, 3], 2, lambda x: (x - [120, 110, 100]) / [60, 61, 62] * 2 - 0.5),
        (DIGITS, (36,), [36], 2, book),
        (DIGITS[:-1], (1, 6, 6), [1, 6, 6], 1, book),
        (FLAT, (60,), [4, 5, 3], 3, lambda x: x.transpose(0, 3, 1, 2).reshape(-1, 60) / 255),
        ((ScaleStep(0.01),), (4,), [4], 1, lambda x: x * 0.01),
        ((TransposeStep((1, 0)), ScaleStep(0.5, 1.0)), (4, 2), [2, 4], 2, lambda x: x.transpose(0, 2, 1) * 0.5 + 1),
    ],
    ids=["imagenet", "channels last", "digits", "an axis more", "flat in another order", "no picture", "transposed"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_steps_of_an_older_file_become_nodes(
    tmp_path: Path,
    steps: Preprocessing,
    shape: tuple[int, ...],
    goes_in: list[int],
    inside: int,
    formula: Callable[[np.ndarray], np.ndarray],
    dtype: str,
) -> None:
    net = of_pictures(steps, *shape, dtype=dtype)
    report = export_onnx(net, tmp_path / "a.onnx")
    *nodes, remaining = [*report.notes, *([] if steps[:-inside] else [""])]
    assert nodes == [f"now a part of the model: {step}" for step in steps[-inside:]]
    if remaining:
        listed = "; ".join(map(str, steps[:-inside]))
        assert remaining.startswith(f"inputs are prepared outside the file: {listed}; the file takes {dtype} (")
        assert remaining.endswith("), levels 0 to 255. portable-nn predict and pnn.prepare do this")
    [value] = onnx.load(tmp_path / "a.onnx").graph.input
    assert (value.name, value.type.tensor_type.elem_type) == ("x", 1 if dtype == "float32" else 11)
    assert shape_of(tmp_path / "a.onnx") == ["batch", *goes_in]
    levels = np.random.default_rng(0).integers(0, 256, (3, *goes_in)).astype(dtype)
    expected = net.predict(formula(levels.astype(np.float64)).astype(dtype))
    np.testing.assert_allclose(theirs(tmp_path / "a.onnx", x=levels)[0], expected, rtol=1e-5, atol=1e-4)
    back = read_onnx(tmp_path / "a.onnx")
    assert back.notes == ()
    assert back.network.inputs == (InputInfo("x", "image", steps[:-inside]),)
    np.testing.assert_allclose(back.network.predict(levels), expected, rtol=1e-5, atol=1e-4)
    weights = {value.name for value in back.network.graph.parameters if value.trainable}
    assert weights == {"y.weight", "y.bias"}


@pytest.mark.parametrize("name", ["digits-cnn", "digits-mlp"])
def test_real_pictures_give_what_the_network_gives_them(tmp_path: Path, name: str) -> None:
    """The digits that are shipped: pnn.prepare makes what any runtime takes."""
    net = pnn.load_model(name)
    export_onnx(net, tmp_path / "a.onnx")
    x = pnn.prepare(tmp_path / "a.onnx", SAMPLES)
    assert x.dtype == np.float32
    assert 250 < x.max() <= 255
    logits = theirs(tmp_path / "a.onnx", image=x)[0]
    assert (logits.argmax(1) == np.arange(10)).all()
    np.testing.assert_allclose(logits, net.predict(x), rtol=1e-5, atol=1e-4)
    labels = [prediction.label for prediction in pnn.predict(net, SAMPLES)]
    assert labels == list("0123456789")


def test_weights_of_another_type_are_cast_to(tmp_path: Path) -> None:
    x = Input(4, name="x", dtype="int32")
    net = older(Network(x, pnn.emit("Cast", x, to=1)), "table", (ScaleStep(2.0),))
    export_onnx(net, tmp_path / "a.onnx")
    found = theirs(tmp_path / "a.onnx", x=np.arange(8, dtype=np.float32).reshape(2, 4))[0]
    np.testing.assert_array_equal(found, np.arange(8).reshape(2, 4) * 2)


@pytest.mark.parametrize(
    ("net", "gives"),
    [
        (of_pictures((GreyscaleStep(), ResizeStep(2, 3), ScaleStep(0.5)), 4), "it gives float32 (batch, 2, 3)"),
        (
            of_pictures((ColourStep(), ResizeStep(2, 3), NormaliseStep((1, 2), (3, 4), axis=2)), 2, 3, 3),
            "'normalization' (Normalization): it needs 2 features in axis 3, not (batch, 2, 3, 3)",
        ),
        (of_pictures((ScaleStep(0.0),), 4), "Rescaling: scale must not be 0, which makes all numbers the same"),
    ],
    ids=["shape", "channels", "factor"],
)
def test_steps_that_cannot_become_nodes_are_named(tmp_path: Path, net: Network, gives: str) -> None:
    wrong, remaining = export_onnx(net, tmp_path / "a.onnx").notes
    [value], [info] = net.graph.inputs, net.inputs
    assert wrong == f"the preprocessing does not give what 'x' takes, {value}: {gives}"
    assert remaining.startswith(
        f"inputs are prepared outside the file: {'; '.join(map(str, info.preprocessing))}; the file "
    )


def test_nodes_that_compute_something_else_than_the_steps_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ScaleStep.__call__
    monkeypatch.setattr(ScaleStep, "__call__", lambda self, batch: right(self, batch) * np.float32(1.01))
    message = r"^output 'y' differs by [\d.]+ between the preprocessing as nodes and its steps; [\de.-]+ would"
    with pytest.raises(VerificationError, match=message):
        export_onnx(of_pictures((ScaleStep(0.5),), 4), tmp_path / "a.onnx")
    export_onnx(of_pictures((ScaleStep(0.5),), 4), tmp_path / "a.onnx", verify=False)


# -- half precision


def test_weights_in_float16(tmp_path: Path) -> None:
    net = pnn.load(find_model("digits-mlp").weights)
    report = export_onnx(net, tmp_path / "a.onnx", float16=True)
    assert report.notes[0] == "2 tensors of weights in float16, computed with in float32"
    assert len(report.notes) == 2
    assert report.bytes < 0.51 * sum(array.nbytes for array in net.parameters.values())
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer}
    for name, array in net.parameters.items():
        half = array.ndim > 1
        np.testing.assert_array_equal(stored[name], array.astype(np.float16) if half else array, strict=True)
    x = np.random.default_rng(0).integers(0, 256, (50, 784)).astype(np.float32)
    found, expected = theirs(tmp_path / "a.onnx", image=x)[0], net.predict(x)
    error = np.abs(found - expected).max()
    rounding = report.rounding["digit"]
    assert 0 < rounding.max_abs_error < 0.1
    assert error < 5 * rounding.max_abs_error
    assert report.max_abs_error < 1e-4  # Both sides have the same weights.
    back = read_onnx(tmp_path / "a.onnx")
    assert (back.notes, back.network.labels) == ((), net.labels)


def test_what_is_too_small_for_float16_is_counted(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    net.parameters["dense_1.weight"][0, :2] = 1e-9
    report = export_onnx(net, tmp_path / "a.onnx", float16=True)
    assert report.notes == (
        "1 tensor of weights in float16, computed with in float32; 2 numbers too small for it became 0",
    )


def test_what_float16_cannot_hold_is_listed(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.Dense(2), seed=0)
    net.parameters["dense_1.weight"][1, 1] = -1e5
    net.parameters["dense_2.weight"][1, 1] = 7e4
    with pytest.raises(UsageError) as caught:
        export_onnx(net, tmp_path / "a.onnx", float16=True)
    assert str(caught.value).splitlines() == [
        "weights cannot be stored as float16: 2 faults",
        "  tensor 'dense_1.weight' reaches 100000, and float16 ends at 65504",
        "  tensor 'dense_2.weight' reaches 70000, and float16 ends at 65504",
    ]


def test_there_must_be_weights_to_store_as_float16(tmp_path: Path) -> None:
    net = Network(x := Input(3, name="x"), emit("Relu", x))
    message = "^there are no weights to store as float16: no parameter of two or more axes is float32 or float64$"
    with pytest.raises(UsageError, match=message):
        export_onnx(net, tmp_path / "a.onnx", float16=True)


def test_all_wishes_at_once(tmp_path: Path) -> None:
    net = pnn.load(find_model("digits").weights)
    report = export_onnx(net, tmp_path / "a.onnx", float16=True, batch=2, opset=13, external_data=0)
    assert (report.opset, shape_of(tmp_path / "a.onnx")) == (13, [2, 1, 28, 28])
    assert report.data is not None
    levels = np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(theirs(tmp_path / "a.onnx", image=levels)[0], net.predict(levels), rtol=1e-2, atol=0.1)


def test_a_report_is_readable_where_it_is_shown(tmp_path: Path) -> None:
    net = pnn.Sequential(Input(40), pnn.Dense(30), seed=0)
    path = tmp_path / "a.onnx"
    plain = export_onnx(net, path, dynamic=True)
    first, written, values, *rest = repr(plain).splitlines()
    assert first == "ExportReport"
    assert values.startswith("  values: 1 compared; largest error ")
    assert [written, *rest] == [
        f"  {path} ({size(plain.bytes)}, opset 17, IR version 8): largest error {plain.max_abs_error:.2g}",
        "  weights: 2 kept bit for bit",
        "  the batch may be of any size as it is: batch",
    ]
    small = export_onnx(net, path, float16=True, external_data=True, verify=False)
    assert repr(small).splitlines()[1:] == [
        f"  {path} ({size(small.bytes)}, opset 17, IR version 8): not verified",
        f"  weights in {small.data}",
        "  1 tensor of weights in float16, computed with in float32",
        "  not verified: verify=False",
    ]
    [name] = net.graph.outputs
    assert f"\n  rounding moves '{name}' by " in repr(export_onnx(net, path, float16=True))
