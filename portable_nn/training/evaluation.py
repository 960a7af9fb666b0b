"""How well a network does on examples that it does not learn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from portable_nn.engines.plan import Plan
from portable_nn.operators.registry import Array
from portable_nn.training.examples import Examples
from portable_nn.training.losses import Loss
from portable_nn.training.metrics import Metric
from portable_nn.training.step import TARGET, WEIGHT, loss_graph
from portable_nn.training.trainable import Trainable


class Evaluation:
    """Loss and metrics of a network on a set that it does not learn from."""

    def __init__(
        self, network: Trainable, losses: Mapping[str, Loss], examples: Examples, metrics: Mapping[str, Metric]
    ) -> None:
        self.network, self.examples, self.losses, self.metrics = network, examples, losses, metrics
        prefixes = {name: "val_" if len(losses) == 1 else f"val_{name}_" for name in losses}
        self.columns = ["val_loss", *(prefix + metric for prefix in prefixes.values() for metric in metrics)]
        self.graph = loss_graph(network, losses, examples.x, examples.y)
        self.loss = self.graph.outputs[0]
        self.plans: dict[int, Plan] = {}

    def __call__(self) -> dict[str, float]:
        """``val_loss`` and ``val_`` each metric (with several outputs: ``val_``output``_``metric)."""
        count = len(self.examples)
        total = seen = 0.0
        found: dict[str, list[Array]] = {name: [] for name in self.losses}
        weights = self.examples.weight if self.examples.weight is not None else np.ones(count)
        size = self.network.at_once(self.examples.x)
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            plan = self._plan(part.stop - start)
            for name, array in self.examples.x.items():
                plan.inputs[name][...] = array[part]
            for name, array in self.examples.y.items():
                plan.inputs[TARGET + name][...] = array[part]
            plan.inputs[WEIGHT][...] = weights[part]
            plan.run()
            weight = float(weights[part].sum())
            if weight:
                total, seen = total + float(plan.outputs[self.loss]) * weight, seen + weight
            for name, parts in found.items():
                parts.append(plan.outputs[name].copy())
        row = [total / seen]
        for name, parts in found.items():
            outputs, targets, threshold = np.concatenate(parts), self.examples.y[name], self.losses[name].threshold
            row += [metric(outputs, targets, weights, threshold) for metric in self.metrics.values()]
        return dict(zip(self.columns, row, strict=True))

    def _plan(self, size: int) -> Plan:
        if size not in self.plans:
            shapes = {value.name: (size, *value.shape[1:]) for value in self.graph.inputs}
            self.plans[size] = Plan(self.graph, shapes, self.network.parameters)
        return self.plans[size]
