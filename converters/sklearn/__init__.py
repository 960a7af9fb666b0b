"""scikit-learn: fitted estimators and pipelines as networks, networks as estimators, and estimators that are networks.

``from_sklearn(pipeline)`` gives a network that computes the same numbers and goes on training from there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from portable_nn.converters.conversion import Imported
from portable_nn.converters.registry import Converter
from portable_nn.network import Network

if TYPE_CHECKING:
    from portable_nn.converters.sklearn.estimators import PortableClassifier, PortableRegressor
    from portable_nn.converters.sklearn.reading import from_sklearn, read_sklearn
    from portable_nn.converters.sklearn.writing import to_sklearn

__all__ = ["PortableClassifier", "PortableRegressor", "from_sklearn", "read_sklearn", "to_sklearn"]

_PLACES = {
    "PortableClassifier": "estimators",
    "PortableRegressor": "estimators",
    "from_sklearn": "reading",
    "read_sklearn": "reading",
    "to_sklearn": "writing",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def _from_object(estimator: Any, **options: Any) -> Imported:
    found: Imported = __getattr__("read_sklearn")(estimator, **options)
    return found


def _to_object(network: Network, **options: Any) -> Any:
    return __getattr__("to_sklearn")(network, **options)


CONVERTER = Converter(
    title="scikit-learn",
    packages=("sklearn",),
    needs="pip install scikit-learn",
    from_object=_from_object,
    to_object=_to_object,
)
