"""The operators: one home for each, with its shape rule, its numpy kernel, its gradient, and all facts about it.

To add one, write its rules in the module of its family (or in a new module: all are imported here) with what ``base``
offers, ``register`` it there, and add a row to ``tests/cases``. Other folders import from here.
"""

from importlib import import_module
from pkgutil import walk_packages

from portable_nn.operators.equal_sizes import Needed, needed_equalities, solution
from portable_nn.operators.inference import Inference, add_types, has_open, infer, infer_node, types_made
from portable_nn.operators.reached import sizes_for_indices
from portable_nn.operators.receptive import FieldContext, cellwise_fields, moved_fields
from portable_nn.operators.registry import (
    DTYPE_CODES,
    FLOATS,
    INTEGERS,
    ONNX_DTYPES,
    REGISTRY,
    REQUIRED,
    Array,
    Attr,
    DataDependentShape,
    Family,
    Interval,
    InvalidNode,
    KernelContext,
    NamedArrays,
    Operator,
    OperatorContext,
    Order,
    Step,
    Type,
    Types,
    family,
    find,
    is_dense,
    is_of_shape,
    known_operator,
    laid_in,
    lookup,
    memory_order,
    operator_of,
    types_read,
    use_of,
    window_kind,
)
from portable_nn.operators.replay import replay, replayed
from portable_nn.operators.scalars import SCALARS
from portable_nn.operators.streamed import Streamed
from portable_nn.operators.symbols import (
    GradientContext,
    Leaf,
    Origin,
    Symbol,
    cast,
    constant,
    count_up,
    emit,
    emit_all,
    integers,
    plain_float,
    sizes,
    squeezed,
    unsqueezed,
    zeros_like,
)
from portable_nn.operators.tracing import reachable, trace

for _home in walk_packages(__path__, f"{__name__}."):
    import_module(_home.name)  # Importing a module registers its operators.
