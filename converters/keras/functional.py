"""Functional models: their layers, and the calls that have been made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from portable_nn.converters.keras.own import is_operation
from portable_nn.converters.keras.spec import Held, described
from portable_nn.converters.keras.structures import calls, flat, mapped, refs, revived, tensors
from portable_nn.core.errors import RefusalError
from portable_nn.core.text import quantity
from portable_nn.operators import Leaf


class Builds(Protocol):
    """The builder of the whole model, as a functional model in it uses it."""

    inputs: dict[str, Leaf]

    def input(self, config: Mapping[str, Any]) -> Held:
        """An input of the whole model."""

    def places(self, listed: Sequence[Mapping[str, Any]], place: str) -> list[str]:
        """The places of the weights of layers."""

    def call(
        self, found: Mapping[str, Any], prefix: str, place: str, args: list[Any], kwargs: Mapping[str, Any], *,
        trainable: bool,
    ) -> Any:  # fmt: skip
        """The result of a layer for its arguments."""


Call: TypeAlias = tuple[str, int]
"""The name of a layer, and the number of one of its calls."""


class Functional:
    """A functional model: its layers, and the calls that have been made of each."""

    def __init__(self, builder: Builds, config: Mapping[str, Any], prefix: str, place: str, trainable: bool) -> None:
        self.builder, self.prefix, self.trainable = builder, prefix, trainable
        self.config = config
        listed = [described(each) for each in config["layers"]]
        self.layers: dict[str, Mapping[str, Any]] = {}
        for each in listed:
            name = each.get("name") or each["config"].get("name")
            if not isinstance(name, str) or name in self.layers:
                raise RefusalError(f"the name {name!r:.60} of one of its layers is none, or stands twice")
            self.layers[name] = each
        own = [each for each in listed if not is_operation(each)]
        self.places = dict(
            zip((str(e.get("name") or e["config"].get("name")) for e in own), builder.places(own, place), strict=True)
        )
        self.made: dict[str, dict[int, Any]] = {name: {} for name in self.layers}

    def run(self, given: Any) -> Any:
        """The outputs, in the structure that the configuration gives them."""
        self._take_inputs(given)
        found = {name: list(calls(each)) for name, each in self.layers.items()}
        for name, index in self._in_order(found):
            if index not in self.made[name]:  # An input is made already.
                self.made[name][index] = self._one(name, found[name][index])
        return mapped(self.config.get("output_layers"), lambda ref: self._output(ref))

    def _take_inputs(self, given: Any) -> None:
        places = self.config.get("input_layers")
        given_places = list(refs(places))
        if given is None:
            self._make_inputs([str(ref[0]) for ref in given_places])
            return
        if isinstance(given, Mapping) and (not isinstance(places, Mapping) or given.keys() != places.keys()):
            raise RefusalError("it is called with other names than its inputs have")
        values = [given[key] for key in places or ()] if isinstance(given, Mapping) else list(flat(given))
        if len(values) != len(given_places):
            raise RefusalError(
                f"it is called with {quantity(len(values), 'tensor')}, and has {quantity(len(given_places), 'input')}"
            )
        for ref, value in zip(given_places, values, strict=True):
            if str(ref[0]) not in self.made:
                raise RefusalError(f"its input {ref[0]!r:.60} is not among its layers")
            self.made[str(ref[0])][int(ref[1])] = value

    def _make_inputs(self, order: Sequence[str]) -> None:
        """Make the inputs of the whole model, in the order of its arguments."""
        for name, each in self.layers.items():
            if each["class_name"] == "InputLayer":
                self.made[name][0] = self.builder.input({**each["config"], "name": name})
        inputs = self.builder.inputs
        ordered = {name: inputs[name] for name in order if name in inputs}
        self.builder.inputs = ordered | inputs

    def _in_order(self, found: Mapping[str, Sequence[tuple[Any, Any]]]) -> list[Call]:
        """The calls in the order in which Keras runs them, which running statistics of a shared layer follow.

        That is the deepest first, where all calls of a layer are at least as deep as the one that was met before. Of
        the same depth, layers are in the order in which a search from the outputs meets them, as in files of weights.
        """
        depths, of_layers, met = dict[Call, int](), dict[str, int](), self._from_inputs_on(found)
        for call in reversed(met):
            depths[call] = of_layers[call[0]] = max(depths.get(call, 0), of_layers.get(call[0], 0))
            for name, index, _ in self._needed(found, call):
                depths[name, index] = max(depths.get((name, index), 0), depths[call] + 1)
        places = {name: place for place, (name, _) in reversed([*enumerate(met)])}
        return sorted(depths, key=lambda call: (-depths[call], places.get(call[0], 0)))

    def _from_inputs_on(self, found: Mapping[str, Sequence[tuple[Any, Any]]]) -> list[Call]:
        """The calls that the outputs need, each behind those that it needs. Raises ``RefusalError`` for a circle."""
        done, entered = dict[Call, None](), set[Call]()
        waiting = [self._call(ref) for ref in refs(self.config.get("output_layers"))][::-1]
        while waiting:
            call = waiting[-1]
            needed = [(name, index) for name, index, _ in self._needed(found, call)]
            left = [each for each in needed if each not in done]
            if call in done or not left:
                done.setdefault(waiting.pop())
                continue
            if call in entered:
                names = ", ".join(repr(name) for name in dict.fromkeys(name for name, _ in (call, *left)))
                raise RefusalError(f"its layers {names} wait for each other, or for layers that are not there")
            entered.add(call)
            waiting += left[::-1]
        return list(done)

    def _needed(self, found: Mapping[str, Sequence[tuple[Any, Any]]], call: Call) -> list[tuple[str, int, int]]:
        """The tensors that a call reads. Raises ``RefusalError`` where it is not there."""
        name, index = call
        if name not in self.layers:
            raise RefusalError(f"the layer {name!r:.60} is not among its layers")
        if index in self.made[name]:  # An input.
            return []
        if not 0 <= index < len(found[name]):
            raise RefusalError(f"call {index} of its layer {name!r:.60} is never made")
        return list(tensors(found[name][index]))

    def _one(self, name: str, call: tuple[Any, Any]) -> Any:
        try:
            args, kwargs = (revived(part, self._tensor) for part in call)
            if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
                raise RefusalError(f"a call of its layer {name!r:.60} has no list of arguments")
            found = {**self.layers[name], "name": name}
            place = self.places.get(name, "")
            return self.builder.call(found, self.prefix, place, list(args), dict(kwargs), trainable=self.trainable)
        except RefusalError as refusal:
            if refusal.faults:
                raise
            return refusal

    def _tensor(self, name: str, index: int, output: int) -> Any:
        made = self.made[name][index]
        if isinstance(made, RefusalError):
            raise made
        outputs = list(flat(made))
        if output >= len(outputs):
            raise RefusalError(f"'{name}' has no output {output}")
        return outputs[output]

    def _output(self, ref: Sequence[Any]) -> tuple[str, Any]:
        name, index = self._call(ref)
        return f"{self.prefix}{name}", self._tensor(name, index, int(ref[2]))

    def _call(self, ref: Sequence[Any]) -> Call:
        """The call that makes an output."""
        name, index = str(ref[0]), int(ref[1])
        if name not in self.made:
            raise RefusalError(f"its output {name!r:.60} is not among its layers")
        if self.layers[name]["class_name"] in ("Functional", "Model"):  # Keras counts these from 1 here.
            index -= 1
        return name, index
