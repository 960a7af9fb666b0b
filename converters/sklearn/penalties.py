"""Penalties of scikit-learn's estimators as weight decay, with which training goes on from where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np


class Penalty(NamedTuple):
    """A squared penalty of weights, as what SGD adds to their gradients.

    Attributes:
        option: the option of the estimator, and its value.
        decay: the factor; per example of the training data, or of a batch, where ``per`` says so.
        per: what the factor is divided by: ``""``, ``"n"`` or ``"batch_size"``.
        biases: whether biases shrink as well.
    """

    option: str
    decay: float
    per: str = ""
    biases: bool = False


def note_of(estimator: Any, loss: str) -> str:
    """A remark on the penalty of a fitted estimator, whose ``loss`` is none where this package lacks it; or ``""``."""
    row = PENALTIES.get(type(estimator).__name__)
    if row is None or not loss:
        return ""
    if _has_l1(estimator):
        return "its L1 penalty is no part of the loss, and has no counterpart in the optimizers here"
    found = row(estimator, loss)
    if found is None or not found.decay:
        return ""
    number = f"{found.decay:g}" + (f" / {found.per}" if found.per else "")
    groups = "" if found.biases else ', groups={"*.bias": {"weight_decay": 0.0}}'
    of = {"n": " with n examples in a batch, all of them,", "batch_size": " with batch_size examples in a batch"}
    return (
        f"its penalty {found.option} is no part of the loss:{of.get(found.per, '')} "
        f"fit(optimizer=SGD(…, weight_decay={number}){groups}) goes on with it"
    )


def _has_l1(estimator: Any) -> bool:
    share = getattr(estimator, "l1_ratio", 0.0)
    penalty = getattr(estimator, "penalty", "l2")
    if type(estimator).__name__.startswith("SGD"):
        return penalty in ("l1", "elasticnet")
    return (
        penalty in ("l1", "elasticnet") or bool(share) or type(estimator).__name__.startswith(("Lasso", "ElasticNet"))
    )


def _columns(estimator: Any, loss: str) -> int:
    """Over how many outputs of an example the loss is a mean."""
    return 1 if loss == "cross_entropy" else len(np.atleast_2d(estimator.coef_))


def _inverse(biases: bool) -> Callable[[Any, str], Penalty | None]:
    def row(estimator: Any, loss: str) -> Penalty | None:
        if getattr(estimator, "penalty", "l2") is None:
            return None
        return Penalty(f"C={estimator.C:g}", 1 / estimator.C / _columns(estimator, loss), "n", biases)

    return row


def _ridge(estimator: Any, loss: str) -> Penalty | None:
    alpha = np.asarray(estimator.alpha)
    return Penalty(f"alpha={alpha:g}", 2 * float(alpha) / _columns(estimator, loss), "n") if alpha.size == 1 else None


def _stochastic(estimator: Any, loss: str) -> Penalty | None:
    if estimator.penalty is None:
        return None
    halved = estimator.loss == "squared_error"  # Its squared error is half of that here.
    return Penalty(f"alpha={estimator.alpha:g}", estimator.alpha * (2 if halved else 1) / _columns(estimator, loss))


def _perceptron(estimator: Any, loss: str) -> Penalty:
    return Penalty(f"alpha={estimator.alpha:g}", estimator.alpha * (2 if "squared" in loss else 1), "batch_size")


PENALTIES: Final[Mapping[str, Callable[[Any, str], Penalty | None]]] = {
    "LogisticRegression": _inverse(biases=False),
    **dict.fromkeys(("LinearSVC", "LinearSVR"), _inverse(biases=True)),
    **dict.fromkeys(("SVC", "SVR"), _inverse(biases=False)),
    **dict.fromkeys(("Ridge", "RidgeClassifier"), _ridge),
    **dict.fromkeys(("Lasso", "ElasticNet"), lambda estimator, loss: None),
    **dict.fromkeys(("SGDClassifier", "SGDRegressor"), _stochastic),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _perceptron),
}
"""The penalty of an estimator, by its class: ``(estimator, loss) → penalty``."""
