"""Loss and metrics on the validation examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from portable_nn.engines.batching import Batching
from portable_nn.engines.plans import Plans
from portable_nn.operators.registry import Array
from portable_nn.training.examples import Examples
from portable_nn.training.losses import Loss
from portable_nn.training.metrics import Metric
from portable_nn.training.step import TARGET, WEIGHT, loss_graph
from portable_nn.training.trainable import Trainable


class Evaluation:
    """Loss and metrics of a network on its validation examples."""

    def __init__(
        self, network: Trainable, losses: Mapping[str, Loss], examples: Examples, metrics: Mapping[str, Metric]
    ) -> None:
        self.network, self.examples, self.losses, self.metrics = network, examples, losses, metrics
        prefixes = {name: "val_" if len(losses) == 1 else f"val_{name}_" for name in losses}
        self.columns = ["val_loss", *(prefix + metric for prefix in prefixes.values() for metric in metrics)]
        self.graph = loss_graph(network, losses, examples.x, examples.y)
        self.loss = self.graph.outputs[0]
        self.plans = Plans(self.graph, network.parameters)

    def __call__(self) -> dict[str, float]:
        """``val_loss`` and ``val_`` each metric (with several outputs: ``val_``output``_``metric)."""
        count = len(self.examples)
        total = seen = 0.0
        found: dict[str, list[Array]] = {name: [] for name in self.losses}
        weights = self.examples.weight if self.examples.weight is not None else np.ones(count)
        targets = {TARGET + name: array for name, array in self.examples.y.items()}
        arrays = {**self.examples.x, **targets, WEIGHT: weights}
        size = Batching(self.network.graph).size(self.examples.x)
        for start in range(0, count, size):
            part = slice(start, start + size)
            outputs = self.plans.run({name: array[part] for name, array in arrays.items()})
            weight = float(weights[part].sum())
            if weight:
                total, seen = total + float(outputs[self.loss]) * weight, seen + weight
            for name, parts in found.items():
                parts.append(outputs[name])
        row = [total / seen]
        for name, parts in found.items():
            values, target, threshold = np.concatenate(parts), self.examples.y[name], self.losses[name].threshold
            row += [metric(values, target, weights, threshold) for metric in self.metrics.values()]
        return dict(zip(self.columns, row, strict=True))
