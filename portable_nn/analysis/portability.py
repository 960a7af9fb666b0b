"""Options on which runtimes are known to disagree.

What the rows claim was found by running one-node models in onnxruntime 1.32, OpenCV 5.0 and OpenVINO 2026.4, and
comparing sizes and numbers; likewise the ``limits`` of operators. Explicit pads, asymmetric as well, are read alike by
all of them. What depends on the sizes of a window's input is reported by ``sizes.cautions``; rows are for where those
are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, get_args

from portable_nn.analysis.report import Finding, Level
from portable_nn.analysis.spatial import Spatial, spatial
from portable_nn.analysis.survey import Survey
from portable_nn.core.graph import Node
from portable_nn.operators.registry import Operator, OperatorContext, find
from portable_nn.sizes.cautions import cautions
from portable_nn.sizes.notation import onnx_text
from portable_nn.sizes.operation import Kind


class Window(NamedTuple):
    """A convolution or pool, and what it is as an operation of ``sizes`` where that is known."""

    node: Node
    spatial: Spatial | None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)


class Risk(NamedTuple):
    """A row: the kinds of windows, when it applies, what to say of it, who does what, and what to do."""

    kinds: frozenset[str]
    applies: Callable[[Window], bool]
    option: str
    problem: str
    hint: Callable[[Window], str] | str
    level: Level = "warning"


def _pads_by_rule(window: Window) -> bool:
    """Whether the pads are to be found by a rule."""
    return bool(window.get("auto_pad", "NOTSET") != "NOTSET")


def _sizes_decide(window: Window) -> bool:
    """Whether they follow from sizes that are not known."""
    return window.spatial is None and str(window.get("auto_pad")).startswith("SAME")


def _has_caution(window: Window) -> bool:
    """Whether ``sizes`` has a caution on them."""
    return window.spatial is not None and any(caution.about == "auto_pad" for caution in cautions(*window.spatial))


def _written_out(window: Window) -> str:
    """The same with pads in numbers, which every runtime reads alike."""
    if window.spatial is None:
        return "write the pads as numbers"
    return f"write the pads as numbers: {onnx_text(window.spatial.operation.resolved(window.spatial.sizes))}"


WINDOWS: Final = frozenset(get_args(Kind))

RISKS: Final = (
    Risk(
        WINDOWS,
        _sizes_decide,
        "auto_pad",
        "OpenCV 5.0 takes no account of the size, from which the pads follow",
        "write the pads as numbers",
    ),
    Risk(
        WINDOWS,
        lambda window: _pads_by_rule(window) and not _has_caution(window),
        "auto_pad",
        "runtimes find the same pads here, but the standard discourages it",
        _written_out,
        "note",
    ),
    Risk(
        frozenset({"convt"}),
        lambda window: window.get("output_shape") is not None,
        "output_shape",
        "OpenCV 5.0 gives an output of another size",
        _written_out,
    ),
    Risk(
        frozenset({"pool"}),
        lambda window: bool(window.get("ceil_mode")) and window.spatial is None,
        "ceil_mode",
        "OpenCV 5.0 and OpenVINO 2026.4 keep a last window that onnxruntime drops, and average others",
        "whether that matters depends on the sizes of the input: give them",
    ),
)
"""Only the first row of an option that applies to a node is reported. What is not about windows is in the ``limits`` of
the operators."""


def portability_findings(survey: Survey) -> Iterator[Finding]:
    """Where the same file will not give the same numbers everywhere."""
    for place, node in enumerate(survey.nodes):
        operator = find(node.operator, node.domain)
        if operator is None or place not in survey.fitting:
            continue
        problems = {**_limits(survey, node, operator), **_risks(survey, place, operator)}
        for option, (level, problem, hint) in problems.items():
            value = node.attributes.get(option)
            shown = f"{option} {value}" if isinstance(value, str | int) else option
            yield Finding(level, node.name, f"{shown}: {problem}", hint)


def _limits(survey: Survey, node: Node, operator: Operator) -> dict[str, tuple[Level, str, str]]:
    """The limits of runtimes that apply to a node, by option."""
    use = OperatorContext(operator, [survey.types.get(name) for name in node.inputs], node.attributes)
    shape = survey.shape(node.outputs[0])
    return {
        limit.option: (limit.level, limit.problem, limit.hint)
        for limit in operator.limits
        if survey.opset < (limit.before or survey.opset + 1) and limit.applies(use, shape)
    }


def _risks(survey: Survey, place: int, operator: Operator) -> dict[str, tuple[Level, str, str]]:
    """The rows that apply to a convolution or pool, by option."""
    found: dict[str, tuple[Level, str, str]] = {}
    window = Window(survey.nodes[place], spatial(survey, place))
    for risk in RISKS:
        if operator.window and operator.window[0] in risk.kinds and risk.applies(window):
            hint = risk.hint if isinstance(risk.hint, str) else risk.hint(window)
            found.setdefault(risk.option, (risk.level, risk.problem, hint))
    return found
