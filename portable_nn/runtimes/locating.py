"""The first node at which a runtime differs or fails: the model is cut at values, and the runtime runs the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array
from portable_nn.runtimes.cutting import Step
from portable_nn.runtimes.forms import Form
from portable_nn.runtimes.subject import Feeds, Subject
from portable_nn.runtimes.task import Port


class Part(NamedTuple):
    """The part of a model that computes one value, and what that must be for ``feeds``."""

    form: Form
    inputs: tuple[Port, ...]
    output: Port
    feeds: Feeds
    expected: Mapping[str, Array]


def first_step(subject: Subject, form: Form, output: str, feeds: Feeds, agrees: Callable[[Part], bool]) -> Step | None:
    """The first node whose value, computed by a runtime from the inputs on, does not agree.

    Found by bisection of the nodes before ``output`` in their order, and then once more before each input of the node
    found that was not tried on the way.

    Args:
        subject: the model.
        form: the form of it that the runtime takes.
        output: an output that does not agree.
        feeds: inputs for which it does not.
        agrees: runs a part of the model in the runtime.
    """
    tried = {output: False}

    def good(name: str) -> bool:
        if name not in tried:
            part = _part(subject, form, name, feeds)
            tried[name] = part is None or agrees(part)
        return tried[name]

    value: str | None = output
    found = None
    while value is not None:
        nodes = form.steps(value)
        if not nodes:
            break
        low, high = -1, len(nodes) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if good(nodes[middle].value) else (low, middle)
        found = nodes[high]
        made = {each.value for each in nodes[:high]}
        value = next((name for name in found.inputs if name in made and not good(name)), None)
    return found


def _part(subject: Subject, form: Form, name: str, feeds: Feeds) -> Part | None:
    """The part up to a value; ``None`` where that depends on no input, or is nothing that can be compared."""
    part = form.part(name)
    taken = set(part.inputs())
    inputs = tuple(port for port in subject.inputs if port.name in taken)
    if not inputs:
        return None
    given = {port.name: feeds[port.name] for port in inputs}
    try:
        expected = subject.part_values(name, feeds)
    except PortableNNError:
        return None
    array = expected[name]
    port = Port(name, array.dtype.name, tuple(f"{name}:{axis}" for axis in range(array.ndim)))
    return Part(form.part(name, port), inputs, port, given, expected)
