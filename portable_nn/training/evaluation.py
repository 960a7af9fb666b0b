"""Loss and metrics on whole sets of examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from portable_nn.engines.batching import Batching
from portable_nn.engines.plans import Plans
from portable_nn.operators.registry import Array
from portable_nn.training.examples import Examples
from portable_nn.training.losses import Loss, OwnLoss
from portable_nn.training.metrics import Metric
from portable_nn.training.step import TARGET, WEIGHT, loss_graph
from portable_nn.training.trainable import Trainable


class Evaluation:
    """Loss and metrics of a network on a set of examples.

    Args:
        network: the network.
        losses: the loss of each trained output.
        examples: the examples.
        metrics: the metrics of each trained output by name.
        prefix: what the names of the columns begin with: ``val_``, or nothing.
        with_loss: whether the loss is one of them.
    """

    def __init__(
        self,
        network: Trainable,
        losses: Mapping[str, Loss],
        examples: Examples,
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
        weighted = examples.weight is not None or not any(isinstance(loss, OwnLoss) for loss in losses.values())
        self.graph, self.named = loss_graph(network, losses, examples.x, examples.y, weighted=weighted)
        self.plans = Plans(self.graph, network.parameters)
        self.weighted = weighted

    def __call__(self) -> dict[str, float]:
        """The loss and each metric by column; with several outputs, ``val_``output``_``metric."""
        count = len(self.examples)
        totals, seen = dict.fromkeys(self.named, 0.0), dict.fromkeys(self.named, 0.0)
        found: dict[str, list[Array]] = {name: [] for name in self.losses}
        weights = self.examples.weight if self.examples.weight is not None else np.ones(count)
        targets = {TARGET + name: array for name, array in self.examples.y.items()}
        arrays = {**self.examples.x, **targets, **({WEIGHT: weights} if self.weighted else {})}
        size = Batching(self.network.graph).size(self.examples.x)
        for start in range(0, count, size):
            part = slice(start, start + size)
            outputs = self.plans.run({name: array[part] for name, array in arrays.items()})
            for name, (value, norm) in self.named.items():
                weight = float(weights[part].sum() if norm is None else outputs[norm])
                if weight:
                    totals[name], seen[name] = totals[name] + float(outputs[value]) * weight, seen[name] + weight
            for name, parts in found.items():
                parts.append(outputs[name])
        row = [self._loss(totals, seen)] if self.with_loss else []
        for name, parts in found.items():
            if self.metrics[name]:
                values, target, threshold = np.concatenate(parts), self.examples.y[name], self.losses[name].threshold
                row += [metric.measure(values, target, weights, threshold) for metric in self.metrics[name].values()]
        return dict(zip(self.columns, row, strict=True))

    def _loss(self, totals: Mapping[str, float], seen: Mapping[str, float]) -> float:
        if "" in self.named:
            return totals[""] / seen[""]
        return sum(self.losses[name].weight * total / seen[name] for name, total in totals.items() if seen[name])
