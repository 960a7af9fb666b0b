"""The options with which models are opened, fed and read, as one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from portable_nn.core.arguments import check_argument
from portable_nn.core.errors import UsageError
from portable_nn.core.names import BATCH_SIZE, Engine
from portable_nn.core.numbers import Count
from portable_nn.data.frames import Dialect
from portable_nn.data.given import Named
from portable_nn.evaluation.scoring import Task
from portable_nn.network import Network
from portable_nn.network.execution import check_engine
from portable_nn.opening.kinds import open_model
from portable_nn.opening.runners import Runnable, Runner, network_runnable
from portable_nn.prediction.labels import read_labels
from portable_nn.prediction.sequences import sequence_runnable
from portable_nn.preprocessing.named import Preparation, preparation_of
from portable_nn.preprocessing.steps import ArithmeticStep, Found, PictureStep, Preprocessing, check_order

Preprocess: TypeAlias = str | Mapping[str, Any] | Preparation | Preprocessing
"""The forms in which callers give the preparation of pictures: a name, the fields of a ``Preparation``, one, or
steps."""


@dataclass(frozen=True)
class ModelOptions:
    """The options of ``predict``, ``evaluate`` and ``run``, on their way from the call or the command to the model.

    Args:
        dataset, targets: the names of the arrays that hold the examples, and of those with what is right for them.
        labelled: tables have labels before the values, also where the labels are numbers.

    All other options are those of ``predict``.
    """

    engine: Engine = "onnxruntime"
    labels: Sequence[str] | str | Path | None = None
    task: Task | None = None
    batch_size: Count = BATCH_SIZE
    polarity: Found | None = None
    raw: bool = False
    strict: bool = True
    digest: str | None = None
    edited: bool = False
    dialect: Dialect | None = None
    preprocess: Preprocess | None = None
    output: str | None = None
    dataset: str | Sequence[str] | None = None
    targets: str | Sequence[str] | None = None
    labelled: bool = False
    stream: bool = False

    def __post_init__(self) -> None:
        check_argument("batch_size", self.batch_size, Count)

    @classmethod
    def of(cls, given: Mapping[str, Any], **others: Any) -> ModelOptions:
        """Those among the arguments of a function, by their names, and ``others``."""
        return cls(**{name: given[name] for name in cls.__dataclass_fields__ if name in given} | others)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes that are given, or empty. Raises as ``read_labels`` does."""
        return read_labels(self.labels) if isinstance(self.labels, str | Path) else tuple(self.labels or ())

    @property
    def named(self) -> Named | None:
        """The names of arrays; ``None`` where none are given."""
        if self.dataset is None and self.targets is None:
            return None
        return Named(*([each] if isinstance(each, str) else list(each or ()) for each in (self.dataset, self.targets)))

    @property
    def preparation(self) -> Preparation | Preprocessing | None:
        """The preparation that ``preprocess`` stands for. Raises ``UsageError``."""
        if not isinstance(self.preprocess, tuple | list):
            return None if self.preprocess is None else preparation_of(self.preprocess)
        steps = tuple(self.preprocess)
        if not steps or not all(isinstance(step, PictureStep | ArithmeticStep) for step in steps):
            raise UsageError("preprocess must be a name, a dict, a Preparation, or a list of steps of preprocessing")
        try:
            check_order(steps)
        except ValueError as error:
            raise UsageError(f"preprocess: {error}") from None
        return steps

    def opened(self, model: str | Path | Network | Runnable) -> Runnable:
        """A model ready to run; with ``stream``, on the steps of a sequence; one that is so already as it is.

        Raises as ``predict`` does.
        """
        if isinstance(model, Runnable):
            return model
        check_engine(self.engine)
        if not isinstance(model, (Network, str, Path)):
            raise UsageError(
                f"model must be a network, a path or the name of a shipped model, not {type(model).__name__}"
            )
        if isinstance(model, Network):
            if self.digest is not None or self.edited:
                raise UsageError("digest and edited are for a model in a file: this one is a network in memory")
            where = "the network" if model.graph.name == "network" else f"the network '{model.graph.name}'"
            return (sequence_runnable if self.stream else network_runnable)(model, where, self.engine)
        file, where = open_model(model, digest=self.digest, edited=self.edited), str(model)
        return sequence_runnable(file.network, where, self.engine) if self.stream else file.runnable(where, self.engine)

    def runner(self, model: str | Path | Network | Runnable) -> Runner:
        """A model as one that gives an answer for each example. Raises as ``predict`` does."""
        return self.opened(model).runner(self.preparation, self.output)
