"""Options on which runtimes are known to disagree.

What the rows claim was found by running one-node models in onnxruntime 1.32, OpenCV 5.0 and OpenVINO 2026.4, and
comparing sizes and numbers; likewise the ``limits`` of operators. Explicit pads, asymmetric ones too, mean the same to
all of them. What depends on the input size of a convolution or pool is reported by ``sizes.cautions``; the rows are for
unknown sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, get_args

from portable_nn.analysis.report import Finding, Level
from portable_nn.analysis.spatial import Spatial, spatial
from portable_nn.analysis.survey import Survey
from portable_nn.core.graph import Node, links
from portable_nn.operators.registry import Operator, OperatorContext, known_operator, types_read
from portable_nn.sizes.cautions import cautions
from portable_nn.sizes.notation import onnx_text
from portable_nn.sizes.operation import Kind


class WindowNode(NamedTuple):
    """The node of a convolution or pool, with its operation where the sizes are known."""

    node: Node
    spatial: Spatial | None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)


class Risk(NamedTuple):
    """A row of the table.

    Attributes:
        kinds: the kinds of operations that have the option.
        applies: whether a node is affected.
        option: the attribute.
        problem: which runtimes do what.
        hint: what to do about it.
        level: that of the finding.
    """

    kinds: frozenset[str]
    applies: Callable[[WindowNode], bool]
    option: str
    problem: str
    hint: Callable[[WindowNode], str] | str
    level: Level = "warning"


def _with_explicit_pads(window: WindowNode) -> str:
    """The advice to use explicit pads, which mean the same to every runtime."""
    if window.spatial is None:
        return "use explicit pads"
    return f"use explicit pads: {onnx_text(window.spatial.operation.resolved(window.spatial.sizes))}"


WINDOWS: Final = frozenset(get_args(Kind))

RISKS: Final = (
    Risk(
        WINDOWS,
        lambda window: window.spatial is None and str(window.get("auto_pad")).startswith("SAME"),
        "auto_pad",
        "OpenCV 5.0 ignores the input size, on which the pads depend",
        _with_explicit_pads,
    ),
    Risk(
        WINDOWS,
        lambda window: (
            window.get("auto_pad", "NOTSET") != "NOTSET"
            and not (window.spatial and any(each.about == "auto_pad" for each in cautions(*window.spatial)))
        ),
        "auto_pad",
        "runtimes agree on the pads here, but the standard deprecates it",
        _with_explicit_pads,
        "note",
    ),
    Risk(
        frozenset({"convt"}),
        lambda window: window.get("output_shape") is not None,
        "output_shape",
        "OpenCV 5.0 gives an output of another size",
        _with_explicit_pads,
    ),
    Risk(
        frozenset({"pool"}),
        lambda window: bool(window.get("ceil_mode")) and window.spatial is None,
        "ceil_mode",
        "OpenCV 5.0 and OpenVINO 2026.4 keep a last window that onnxruntime drops, and average others",
        "whether that matters depends on the sizes of the input: give them",
    ),
)
"""The first applicable row of an option is reported. Other operators have theirs in their ``limits``."""


def portability_findings(survey: Survey, *, known: bool = False) -> Iterator[Finding]:
    """Findings where runtimes compute different results from the same file, or reject it.

    With ``known``, those as well that are reported only where a runtime has failed.
    """
    for place, node in enumerate(survey.nodes):
        operator = known_operator(node)
        if operator is None or place not in survey.fitting:
            continue
        problems = {**_limits(survey, node, operator, known), **_risks(survey, place, operator)}
        for option, (level, problem, hint) in problems.items():
            value = node.attributes.get(option)
            shown = f"{option} {value}" if isinstance(value, str | int) else option
            yield Finding(level, node.name, f"{shown}: {problem}", hint)


def _limits(survey: Survey, node: Node, operator: Operator, known: bool) -> dict[str, tuple[Level, str, str]]:
    """The limits of runtimes that apply to a node, by option."""
    use = OperatorContext(operator, types_read(node, survey.types), node.attributes)
    shape = survey.shape(node.outputs[0])
    return {
        limit.option: (limit.level if limit.level != "known" else "note", limit.problem, limit.hint)
        for limit in operator.portability.limits
        if survey.opset < (limit.before or survey.opset + 1)
        and (known or limit.level != "known")
        and limit.applies(use, shape)
        and (not limit.after or any(links(node, limit.after, survey.makers)))
    }


def _risks(survey: Survey, place: int, operator: Operator) -> dict[str, tuple[Level, str, str]]:
    """The rows that apply to a convolution or pool, by option."""
    found: dict[str, tuple[Level, str, str]] = {}
    window = WindowNode(survey.nodes[place], spatial(survey, place))
    for risk in RISKS:
        if operator.window and operator.window[0] in risk.kinds and risk.applies(window):
            hint = risk.hint if isinstance(risk.hint, str) else risk.hint(window)
            found.setdefault(risk.option, (risk.level, risk.problem, hint))
    return found
