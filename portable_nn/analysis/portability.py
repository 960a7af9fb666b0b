"""Options on which runtimes are known to disagree, one row each.

What the rows claim was found by running one-node models in onnxruntime 1.32, OpenCV 5.0 and OpenVINO 2026.4, and
comparing sizes and numbers. Explicit pads, asymmetric as well, are read alike by all of them. What depends on the sizes
of a window's input is told by ``sizes.cautions``; rows are for where those are not known, and for other operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from portable_nn.analysis.report import Finding, Level
from portable_nn.analysis.spatial import Spatial, spatial
from portable_nn.analysis.survey import Survey
from portable_nn.core.graph import Node
from portable_nn.sizes.cautions import cautions
from portable_nn.sizes.spelling import onnx_text

POOLS: Final = ("MaxPool", "AveragePool", "LpPool")
WINDOWS: Final = ("Conv", "ConvTranspose", *POOLS)
SOFTMAXES: Final = ("Softmax", "LogSoftmax", "Hardmax")

PLAIN_MODES: Final = frozenset({"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"})
"""The coordinate modes of Resize that all runtimes have, and that they read alike."""


class Use(NamedTuple):
    """A node, and what it is as an operation of ``sizes`` where that is known."""

    survey: Survey
    node: Node
    spatial: Spatial | None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    @property
    def rank(self) -> int:
        """How many dimensions the input has; 0 where that is not known."""
        return len(self.survey.shape(self.node.inputs[0]) or ())


class Risk(NamedTuple):
    """A row: the operators, when it applies, what to say of it, who does what, and what to do."""

    operators: tuple[str, ...]
    applies: Callable[[Use], bool]
    option: str
    source: str
    hint: Callable[[Use], str] | str
    level: Level = "warning"


def _pads_by_rule(use: Use) -> bool:
    """Whether the pads are to be found by a rule."""
    return bool(use.get("auto_pad", "NOTSET") != "NOTSET")


def _sizes_decide(use: Use) -> bool:
    """Whether they follow from sizes that are not known."""
    return use.spatial is None and str(use.get("auto_pad")).startswith("SAME")


def _is_told(use: Use) -> bool:
    """Whether ``sizes`` has a caution on them."""
    return use.spatial is not None and any(caution.about == "auto_pad" for caution in cautions(*use.spatial))


def _ratio_is_not_the_scale(use: Use) -> bool:
    """Whether a scale of Resize does not take the size of the input to a whole number."""
    shape = use.survey.shape(use.node.inputs[0]) or ()
    scales = use.survey.numbers(use.node.inputs[2]) if len(use.node.inputs) > 2 else ()
    sizes = zip(shape, scales, strict=False)
    return any(isinstance(dim, int) and abs(dim * scale - round(dim * scale)) > 1e-3 for dim, scale in sizes)


def _shrinks(use: Use) -> bool:
    """Whether some size becomes smaller; feared where the sizes are not known."""
    before, after = (use.survey.shape(name) for name in (use.node.inputs[0], use.node.outputs[0]))
    if before is None or after is None:
        return True
    pairs = zip(before, after, strict=True)
    return any(isinstance(old, str) or isinstance(new, str) or new < old for old, new in pairs if old != new)


def _flattens(use: Use) -> bool:
    """Whether it is the Softmax of before opset 13, over all axes from one on that is not the last."""
    return use.survey.opset < 13 and use.rank > 2 and use.get("axis", 1) not in (-1, use.rank - 1)


def _written_out(use: Use) -> str:
    """The same with pads in numbers, which every runtime reads alike."""
    if use.spatial is None:
        return "write the pads as numbers"
    return f"write the pads as numbers: {onnx_text(use.spatial.operation.resolved(use.spatial.sizes))}"


RISKS: Final = (
    Risk(
        WINDOWS, _sizes_decide, "auto_pad", "OpenCV 5.0 takes no account of the size, from which the pads follow",
        "write the pads as numbers",
    ),
    Risk(
        WINDOWS, lambda use: _pads_by_rule(use) and not _is_told(use), "auto_pad",
        "runtimes find the same pads here, but the standard discourages it", _written_out, "note",
    ),
    Risk(
        ("ConvTranspose",), lambda use: use.get("output_shape") is not None, "output_shape",
        "OpenCV 5.0 gives an output of another size", _written_out,
    ),
    Risk(
        POOLS, lambda use: bool(use.get("ceil_mode")) and use.spatial is None, "ceil_mode",
        "OpenCV 5.0 and OpenVINO 2026.4 keep a last window that onnxruntime drops, and average others",
        "whether that matters depends on the sizes of the input: give them",
    ),
    Risk(
        ("Resize",), lambda use: bool(use.get("antialias")) and _shrinks(use), "antialias",
        "OpenCV 5.0 and OpenVINO 2026.4 ignore it", "blur before, with a convolution",
    ),
    Risk(
        ("Resize",), lambda use: use.get("coordinate_transformation_mode", "half_pixel") not in PLAIN_MODES,
        "coordinate_transformation_mode", "OpenVINO 2026.4 refuses it, OpenCV 5.0 refuses it or takes another",
        f"all runtimes have {', '.join(sorted(PLAIN_MODES))}",
    ),
    Risk(
        ("Resize",), lambda use: bool(use.get("exclude_outside")), "exclude_outside",
        "OpenVINO 2026.4 ignores it, onnxruntime 1.32 has it for cubic alone", "leave it out",
    ),
    Risk(
        ("Resize",), lambda use: use.get("keep_aspect_ratio_policy", "stretch") != "stretch",
        "keep_aspect_ratio_policy", "OpenCV 5.0 and OpenVINO 2026.4 ignore it", "give the sizes that come out",
    ),
    Risk(
        ("Resize",), _ratio_is_not_the_scale, "scales",
        "where size times scale is not whole, OpenCV 5.0 takes the ratio of the sizes for the scale",
        "give sizes instead",
    ),
    Risk(
        SOFTMAXES, _flattens, "axis",
        "before opset 13 it means all axes from there on; OpenCV 5.0 and for Softmax OpenVINO 2026.4 take it alone",
        "flatten the input first, or write the file at opset 13 or newer",
    ),
    Risk(
        ("Pad",), lambda use: use.get("mode") == "wrap", "mode", "OpenVINO 2026.4 refuses it",
        "concatenate slices of the input",
    ),
    Risk(
        ("LRN",), lambda use: use.get("size", 1) % 2 == 0, "size", "onnxruntime 1.32 and OpenCV 5.0 refuse even ones",
        "use an odd one",
    ),
    Risk(
        ("Gelu",), lambda use: use.get("approximate") == "tanh", "approximate",
        "OpenCV 5.0 computes the exact form, which differs by up to 0.0004", "", "note",
    ),
)  # fmt: skip
"""The first row of an option that applies to a node is told, and not those after it."""


def portability_findings(survey: Survey) -> Iterator[Finding]:
    """Where the same file will not give the same numbers everywhere."""
    for place, node in enumerate(survey.nodes):
        rows = [risk for risk in RISKS if node.operator in risk.operators and not node.domain]
        if not rows or place not in survey.fitting:
            continue
        use, told = Use(survey, node, spatial(survey, place)), set[str]()
        for risk in rows:
            if risk.option not in told and risk.applies(use):
                told.add(risk.option)
                value = node.attributes.get(risk.option)
                option = f"{risk.option} {value}" if isinstance(value, str | int) else risk.option
                hint = risk.hint if isinstance(risk.hint, str) else risk.hint(use)
                yield Finding(risk.level, node.name, f"{option}: {risk.source}", hint)
