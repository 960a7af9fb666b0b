"""Loss and metrics on whole sets of examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from portable_nn.engines.batching import Batching
from portable_nn.engines.plans import Plans
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.training.examples import Examples
from portable_nn.training.losses import Loss, OwnLoss
from portable_nn.training.metrics import Metric
from portable_nn.training.parts import WEIGHT, loss_graph, mean_loss
from portable_nn.training.sources import HeldOut, inputs_of
from portable_nn.training.trainable import Trainable


class Evaluation:
    """Loss and metrics of a network on a set of examples.

    Args:
        network: the network.
        losses: the loss of each trained output.
        examples: the examples, whole or in batches.
        metrics: the metrics of each trained output by name.
        prefix: what the names of the columns begin with: ``val_``, or nothing.
        with_loss: whether the loss is one of them.
    """

    def __init__(
        self,
        network: Trainable,
        losses: Mapping[str, Loss],
        examples: HeldOut,
        metrics: Mapping[str, Mapping[str, Metric]],
        *,
        prefix: str = "val_",
        with_loss: bool = True,
    ) -> None:
        self.network, self.examples, self.losses, self.metrics = network, examples, losses, metrics
        self.with_loss = with_loss
        columns = [
            (prefix if len(losses) == 1 else f"{prefix}{output}_") + name
            for output, each in metrics.items()
            for name in each
        ]
        self.columns = [*([f"{prefix}loss"] if with_loss else []), *columns]
        first = examples.first
        own = first.weight is None and any(isinstance(loss, OwnLoss) for loss in losses.values())
        weighted = None if own else first.weighted or ()
        self.graph, self.parts = loss_graph(network, losses, first.x, first.y, weighted=weighted)
        self.plans = Plans(self.graph, network.parameters)
        self.weighted = weighted is not None

    def __call__(self) -> dict[str, float]:
        """The loss and each metric by column; with several outputs, ``val_``output``_``metric."""
        sums = [[0.0, 0.0] for _ in self.parts]
        kept = {name: list[tuple[Array, Array, Array]]() for name, metrics in self.metrics.items() if metrics}
        for examples in self.examples:
            weights = np.ones(len(examples)) if examples.weight is None else examples.weight
            found = {name: list[Array]() for name in kept}
            for outputs in self._outputs(examples, weights, sums):
                for name, parts in found.items():
                    parts.append(outputs[name])
            for name, parts in found.items():
                kept[name].append((joined(parts), examples.y[name], weights))
        row = [mean_loss(self.losses, self.parts, sums)] if self.with_loss else []
        for name, pieces in kept.items():
            arrays = [joined(each) for each in zip(*pieces, strict=True)]
            row += [
                metric.measure(*places_of(self.losses[name], *arrays), self.losses[name].threshold)
                for metric in self.metrics[name].values()
            ]
        return dict(zip(self.columns, row, strict=True))

    def _outputs(self, examples: Examples, weights: Array, sums: Sequence[list[float]]) -> Iterator[NamedArrays]:
        """The outputs for examples, in batches of bounded memory; what is measured of the loss is added to ``sums``."""
        arrays = {**inputs_of(examples), **({WEIGHT: weights} if self.weighted else {})}
        size = Batching(self.network.graph).size(examples.x)
        for start in range(0, len(examples), size):
            part = slice(start, start + size)
            outputs = self.plans.run({name: array[part] for name, array in arrays.items()})
            for total, (value, norm) in zip(sums, self.parts.values(), strict=True):
                weight = float(weights[part].sum() if norm is None else outputs[norm])
                if weight:
                    total[0] += float(outputs[value]) * weight
                    total[1] += weight
            yield outputs


def places_of(loss: Loss, outputs: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Outputs and targets with the classes as the second axis.

    Where each step has a weight, the steps are the examples, without those whose weight is 0, such as padding.
    """
    if (axis := loss.axis(outputs.ndim)) != 1:
        targets = np.moveaxis(targets, axis, 1) if targets.ndim == outputs.ndim else targets
        outputs = np.moveaxis(outputs, axis, 1)
    if weights.ndim == 1:
        return outputs, targets, weights
    if len(loss.places(outputs.shape[1:], targets)) < outputs.ndim - 1:  # The classes are the second axis.
        targets = np.moveaxis(targets, 1, -1) if targets.ndim == outputs.ndim else targets
        outputs = np.moveaxis(outputs, 1, -1)
    counted = weights > 0
    return outputs[counted], targets[counted], weights[counted]


def joined(arrays: Sequence[Array]) -> Array:
    """One array of several, along the first axis."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
