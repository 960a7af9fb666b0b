"""Functional models: their layers, and the calls that have been made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.own import described, is_operation
from portable_nn.converters.keras.spec import LayerError
from portable_nn.converters.keras.structures import calls, flat, mapped, refs, revived, tensors
from portable_nn.operators import Leaf


class Builds(Protocol):
    """What a functional model asks of the builder of the whole one."""

    inputs: dict[str, Leaf]

    def input(self, config: Mapping[str, Any]) -> Held:
        """An input of the whole model."""

    def places(self, listed: Sequence[Mapping[str, Any]], place: str) -> list[str]:
        """Where the weights of layers are."""

    def call(
        self, found: Mapping[str, Any], prefix: str, place: str, args: list[Any], kwargs: Mapping[str, Any], *,
        trainable: bool,
    ) -> Any:  # fmt: skip
        """What a layer makes of its arguments."""


class FailedError(Exception):
    """A layer whose inputs could not be made: the fault has been noted there."""


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
                raise LayerError(f"the name {name!r:.60} of one of its layers is none, or stands twice")
            self.layers[name] = each
        own = [each for each in listed if not is_operation(each)]
        self.places = dict(
            zip((str(e.get("name") or e["config"].get("name")) for e in own), builder.places(own, place), strict=True)
        )
        self.made: dict[str, list[Any]] = {name: [] for name in self.layers}

    def run(self, given: Any) -> Any:
        """The outputs, in the structure that the configuration gives them."""
        self._take_inputs(given)
        waiting = {name: list(calls(each)) for name, each in self.layers.items()}
        while any(waiting.values()):
            moved = False
            for name, left in waiting.items():
                while left and self._is_ready(left[0]):
                    self.made[name].append(self._one(name, left.pop(0)))
                    moved = True
            if not moved:
                names = ", ".join(repr(name) for name, left in waiting.items() if left)
                raise LayerError(f"its layers {names} wait for each other, or for layers that are not there")
        return mapped(self.config.get("output_layers"), lambda ref: self._output(ref))

    def _take_inputs(self, given: Any) -> None:
        places = self.config.get("input_layers")
        given_places = list(refs(places))
        if given is None:
            for name, each in self.layers.items():
                if each["class_name"] == "InputLayer":
                    config = {**each["config"], "name": name}
                    self.made[name].append(self.builder.input(config))
            order = [str(ref[0]) for ref in given_places]
            inputs = self.builder.inputs
            ordered = {name: inputs[name] for name in order if name in inputs}
            self.builder.inputs = ordered | {name: leaf for name, leaf in inputs.items() if name not in ordered}
            return
        if isinstance(given, Mapping):
            if not isinstance(places, Mapping) or given.keys() != places.keys():
                raise LayerError("it is called with other names than its inputs have")
            values = [given[key] for key in places]
        else:
            values = list(flat(given))
        if len(values) != len(given_places):
            raise LayerError(f"it is called with {len(values)} tensors, and has {len(given_places)} inputs")
        for ref, value in zip(given_places, values, strict=True):
            if str(ref[0]) not in self.made:
                raise LayerError(f"its input {ref[0]!r:.60} is not among its layers")
            self.made[str(ref[0])].append(value)

    def _is_ready(self, call: tuple[Any, Any]) -> bool:
        needed = list(tensors(call))
        for name, _, _ in needed:
            if name not in self.made:
                raise LayerError(f"the layer {name!r:.60} is not among its layers")
        return all(len(self.made[name]) > index for name, index, _ in needed)

    def _one(self, name: str, call: tuple[Any, Any]) -> Any:
        try:
            args, kwargs = (revived(part, self._tensor) for part in call)
            found = {**self.layers[name], "name": name}
            place = self.places.get(name, "")
            return self.builder.call(found, self.prefix, place, list(args), dict(kwargs), trainable=self.trainable)
        except FailedError:
            return FailedError

    def _tensor(self, name: str, index: int, output: int) -> Any:
        made = self.made[name][index]
        if made is FailedError:
            raise FailedError
        outputs = list(flat(made))
        if output >= len(outputs):
            raise LayerError(f"'{name}' has no output {output}")
        return outputs[output]

    def _output(self, ref: Sequence[Any]) -> tuple[str, Any]:
        name, index, output = str(ref[0]), int(ref[1]), int(ref[2])
        if name not in self.made:
            raise LayerError(f"its output {name!r:.60} is not among its layers")
        if self.layers[name]["class_name"] in ("Functional", "Model"):  # Keras counts these from 1 here.
            index -= 1
        if not 0 <= index < len(self.made[name]):
            raise LayerError(f"its output {name!r:.60} is never made")
        return f"{self.prefix}{name}", self._tensor(name, index, output)
