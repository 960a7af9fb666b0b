"""The JSON that commands print with ``--format json``: a table of shapes, and each as JSON Schema.

A shape looks like what it describes. A dictionary is an object with these keys and no others: several names with the
same shape stand in one key, ``"name?"`` may be missing, and ``"*"`` is the shape of all other keys. A list has the
shape of its items, a text names the types that a value may have, and a tuple holds the shapes of which it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

NAMES: Final[Mapping[str, str]] = {
    "str": "string",
    "int": "integer",
    "number": "number",
    "bool": "boolean",
    "list": "array",
    "object": "object",
    "null": "null",
}
"""The types of JSON Schema by the names that shapes have for them."""

ANY: Final = " | ".join(name for name in NAMES if name != "int")
TEXTS: Final = {"*": "str"}
SIZES: Final = ["int | str | null"]
INTERVAL: Final = (["number"], "null")

REAL: Final = "number | str | null"
"""A number of a simulation: "inf" and "-inf" are text, and NaN is null."""

DIFFERENCE: Final = {"max_abs_error max_rel_error": "number | null"}
DIFFERENCES: Final = [{"output": "str", **DIFFERENCE}]
VALUES: Final = {
    "values": {
        "compared": "int",
        "worst": ({"value node": "str", "error": "number"}, "null"),
        "widened": [{"value node": "str", "apart allowed": "number"}],
        "opaque": ["str"],
        "not_exercised": [{"node why": "str"}],
    },
    "sizes": {"*": ["int"]},
    "weights": [{"name kind details": "str"}],
}
PROOF: Final = {
    "verified": "bool",
    "seconds": "number | null",
    "outputs recorded": DIFFERENCES,
    "batches": ["int"],
    **VALUES,
}
DIGITS: Final = {"prepared? unsure?": "str"}

WORST: Final = [{"input": "str", "expected predicted": ANY, "score": "number", "probability?": "number"}]
EVALUATED: Final = {
    "examples left_out": "int",
    "loss": "number",
    "loss_interval": INTERVAL,
    "worst": WORST,
    "notes": ["str"],
    "too_few": TEXTS,
}
OF_CLASSES: Final = {
    **EVALUATED,
    "task": "str",
    "accuracy baseline precision recall f1": "number",
    "accuracy_interval": ["number"],
    "f1_interval auc_interval": INTERVAL,
    "auc accuracy_of_sure": "number | null",
    "unsure": "int",
    "confusion": [["int"]],
    "classes": [
        {
            "name": "str",
            "precision recall f1": "number | null",
            "precision_interval recall_interval f1_interval": INTERVAL,
            "support predicted": "int",
        }
    ],
    "reliability": {
        "ece by_chance": "number",
        "bins": [{"low high confidence accuracy": "number", "count": "int", "interval": ["number"]}],
    },
}
OF_NUMBERS: Final = {
    **EVALUATED,
    "task": "str",
    "numbers": [
        {
            "name unit": "str",
            "rmse mae bias mean std": "number",
            "r2": "number | null",
            "rmse_interval mae_interval r2_interval bias_interval": INTERVAL,
            "coverage?": {"*": "number"},
            "too_few?": TEXTS,
        }
    ],
}
TRAINED: Final = {
    "model": "str",
    "epochs": "int",
    "stopped": "str | null",
    "best_epoch": "int | null",
    "figures": {"*": "number | null"},
    "history": [{"*": "number | null"}],
    **DIGITS,
    "plot?": "str",
    "test?": (OF_CLASSES, OF_NUMBERS),
}

OPERATION: Final = {
    "output": ["int"],
    "options": {
        "kernel stride dilation output_padding?": ["int"],
        "padding": [["int"]],
        "groups?": "int",
        "ceil? count_include_pad?": "bool",
        "mode?": "str",
    },
    "auto_pad onnx": "str",
    "torch": "str | null",
    "coverage": [{"axis of": "str", "counts uncovered holes idle phases": ["int"], "uneven": "bool"}],
}
SIZED: Final = (
    {
        "kind": "str",
        "input": ["int"],
        **OPERATION,
        "steps": [[{"what formula numbers": "str", "result": "int"}]],
        "cautions": [{"about message hint": "str"}],
        "fixes": [{"text": "str", "changes": ["str"], "output": ["int"], "options": OPERATION["options"]}],
        "pictures": ["str"],
    },
    {
        "kind": "str",
        "input output": ["int"],
        "chain": [{"input": ["int"], **OPERATION}],
        "solutions": [OPERATION],
        "pictures": ["str"],
    },
)

FORECAST: Final = {
    "method": "str",
    "options": {"*": ANY},
    "gradients_per_step": "int",
    "closed_form spectral_radius stability_limit": REAL,
}
VERDICT: Final = {"status": "int", "verdict basis reason": "str", "between": [REAL]}
SIMULATED: Final = {"game rate": "str", "game_options": {"*": ANY}, "start": [REAL], "files": ["str"]}
CHOICES: Final = [{"name meaning": "str", "default": ANY, "limits?": "str"}]

PARAMETER: Final = {
    "metavar": "str | null",
    "type help": "str",
    "choices": (["str"], "null"),
    "required repeatable": "bool",
}

OUTPUTS: Final[Mapping[str, Any]] = {
    "help": {
        "program version": "str",
        "exit_codes": TEXTS,
        "commands": [
            {
                "path examples": ["str"],
                "summary help": "str",
                "arguments": [PARAMETER],
                "options": [{**PARAMETER, "names": ["str"], "default": ANY, "heading": "str", "in_first_help": "bool"}],
                "output": "object | null",
            }
        ],
    },
    "train": TRAINED,
    "tune": TRAINED,
    "models list": {
        "models": [
            {"name summary path onnx samples": "str", "aliases": ["str"], "accuracy": "number | null", "bytes": "int"}
        ]
    },
    "models show": {"name card": "str"},
    "models build": (TRAINED, {"path": "str", "echoes bytes seed": "int", "plot?": "str"}),
    "predict": (
        {
            "model": "str",
            "quantities?": ["str"],
            "results": [
                (
                    {"input error": "str"},
                    {"input": "str", "values": ["number | null"], "label?": "str"},
                    {
                        "input": "str",
                        "label": "str | null",
                        "index": "int | null",
                        "probability": "number | null",
                        "top": [["str | number"]],
                        "guess? expected?": "str",
                        "box?": ["number"],
                    },
                )
            ],
        },
        {"model": "str", "outputs": [{"output dtype": "str", "shape": ["int"]}]},
        {
            "model": "str",
            "found": [
                (
                    {"input label": "str", "share": "number"},
                    {"input label": "str", "score": "number", "box": ["number"], "pixels?": "int"},
                )
            ],
        },
    ),
    "evaluate": ({"model": "str", "data": ["str"], **OF_CLASSES}, {"model": "str", "data": ["str"], **OF_NUMBERS}),
    "calibrate": {
        "model path": "str",
        "data": ["str"],
        "unsure?": "str",
        "examples?": "int",
        "temperature?": "number",
        "before? after?": {"loss ece accuracy": "number"},
    },
    "export": (
        {
            "model path": "str",
            "bytes": "int",
            **PROOF,
            "beside notes": ["str"],
            "opset? ir_version?": "int",
            "rounding?": DIFFERENCES,
            "data?": "str | null",
        },
        {"model path kind runtime": "str", "bytes": "int", "outputs": DIFFERENCES},
    ),
    "import": {"model path": "str", "bytes trained constants": "int", **DIGITS, **PROOF, "notes": ["str"]},
    "convert": {
        "model path digest": "str",
        "bytes tensors tensor_bytes": "int",
        "verified": "bool",
        "same_digest": "bool | null",
        "opset ir_version": "int | null",
        "outputs recorded": DIFFERENCES,
        **VALUES,
        "files dropped notes": ["str"],
    },
    "diff": {
        "a b verdict reason options": "str",
        "preparation": [{"what a b": "str"}],
        "same": "bool",
        "weights": [{"name_a name_b how": "str", "largest": "number | null", "nodes": ["str"]}],
        "partings": [
            {
                "nodes_a nodes_b": ["str"],
                "value_a value_b why shown": "str",
                "apart guaranteed likely": "number | null",
            }
        ],
        "outputs": DIFFERENCES,
        "matched": {"values of": "int"},
        "seed": "int",
        "notes": ["str"],
    },
    "inspect": (
        {
            "name producer digest": "str",
            "opset parameters bytes frozen": "int",
            "nodes": [
                {
                    "name operator": "str",
                    "inputs outputs": [(SIZES, "null")],
                    "parameters bytes": "int",
                    "reads makes": ["str"],
                }
            ],
            "inputs": [
                {
                    "name dtype kind state": "str",
                    "shape": (SIZES, "null"),
                    "preprocessing": ["str"],
                    "columns": ["object"],
                    "range": INTERVAL,
                }
            ],
            "outputs": [
                {
                    "name dtype kind target loss": "str",
                    "shape": (SIZES, "null"),
                    "labels units": ["str"],
                    "temperature threshold": "number",
                }
            ],
            "metadata": TEXTS,
            "file": (
                {"path sha256": "str", "bytes": "int", "signature": "str | null", "weights": {"*": "int"}},
                "null",
            ),
            "training": ({"epoch batch step": "int"}, "null"),
            "tensors": [{"name dtype": "str", "shape": ["int"], "bytes": "int"}],
            "notes files unsigned": ["str"],
            "signed": "str | null",
        },
        {
            "file model": "str",
            "fits": "bool",
            "tensors": [{"name status suggestion": "str", "needed": SIZES, "found": (SIZES, "null"), "axes": ["int"]}],
            "left_over": ["str"],
        },
    ),
    "check": {
        "model": "str",
        "nodes errors warnings notes": "int",
        "findings": [{"level node message hint": "str"}],
        "runtimes?": {
            "model reference note": "str",
            "batches": ["int"],
            "sizes": {"*": ["int"]},
            "atol rtol": "number",
            "passes": "bool",
            "runtimes": [
                {
                    "runtime title state sizes reason node": "str",
                    "version": "str | null",
                    "outputs": {"*": DIFFERENCE},
                    "explanations": ["str"],
                    "seconds": "number",
                }
            ],
        },
    },
    "size conv": SIZED,
    "size convt": SIZED,
    "size pool": SIZED,
    "size net": {
        "model peak_at": "str",
        "counted_for uncounted": {"*": "int"},
        "parameters parameter_bytes": "int",
        "multiply_adds bytes peak": "int | null",
        "nodes": [
            {
                "name operator options field_ends": "str",
                "inputs outputs": [(SIZES, "null")],
                "coverage risks": ["str"],
                "field": ["int"],
                "jump": ["number"],
                "sees_all constant": "bool",
                "parameters shared": "int",
                "multiply_adds bytes": "int | null",
            }
        ],
    },
    "doctor": {
        "version folder python system remedy": "str",
        "cores": "int",
        "memory": "int | null",
        "claims": "int | str",
        "blas": ("str", {"name": "str", "threads": "int | null", "variables": TEXTS}),
        "engines": TEXTS,
        "providers faults": ["str"],
        "packages": [{"name needed state": "str", "version": "str | null"}],
    },
    "completion": {"shell script": "str", "files": ["str"]},
    "simulate run": {
        **SIMULATED,
        **FORECAST,
        **VERDICT,
        "steps nfev njev": "int",
        "end distance": [REAL],
        "success exact": "bool",
        "measured steps_to_tenfold steps_around averaged_distance": REAL,
        "converging": [FORECAST],
    },
    "simulate compare": {
        **SIMULATED,
        "evaluations": "int",
        "equal_strength": "bool",
        "methods": [
            {
                **FORECAST,
                **VERDICT,
                "steps nfev njev gradients": "int",
                "measured measured_per_gradient distance strength": REAL,
            }
        ],
    },
    "simulate sweep": {
        "game": "str",
        "steps": "int",
        "rates": ["number"],
        "methods": [
            {
                "method": "str",
                "stability_limit": REAL,
                "gradients_per_step": "int",
                "best_rate": "number",
                "measured spectral_radius": [REAL],
                "status": ["int"],
            }
        ],
        "files": ["str"],
    },
    "simulate spectrum": {
        "game": "str",
        "spectra": [
            {
                **FORECAST,
                "rate": ["number"],
                "equilibrium": [REAL],
                "jacobian operator eigenvalues": [[REAL]],
                "steps_per_operator": "int",
                "steps_around": REAL,
                "conserved": "str | null",
            }
        ],
        "files": ["str"],
    },
    "simulate field": {
        "game method rate": "str",
        "options": {"*": ANY},
        "steps": "int",
        "equilibria": [[REAL]],
        "runs": [{"start end": [REAL], **VERDICT, "measured": REAL}],
        "grid": {"x y": ["number"], "f": [[REAL]], "players ascent": [[[REAL]]]},
        "files": ["str"],
    },
    "simulate gan": {
        "example recipe method loss verdict": "str",
        "seed": "int",
        "stopped": "str | null",
        "figures": {"*": REAL},
        "seconds": "number",
        "history": [{"*": REAL}],
        "eigenvalues": [{"step": "int", "values": [[REAL]]}],
        "files": ["str"],
    },
    "simulate list": {
        "games?": [{"name f source": "str", "options": CHOICES}],
        "methods?": [{"name title source scheme": "str", "gradients_per_step": "int", "options": CHOICES}],
    },
}
"""The shapes by command. All have the number ``schema`` as well (``Printer.result``)."""


def schema_of(command: str) -> dict[str, Any] | None:
    """The JSON Schema of what a command prints; ``None`` for one that prints no JSON."""
    if command not in OUTPUTS:
        return None
    shape = OUTPUTS[command]
    if isinstance(shape, tuple):
        return {"$schema": DRAFT, **expanded(tuple({"schema": "int", **each} for each in shape))}
    return {"$schema": DRAFT, **expanded({"schema": "int", **shape})}


def expanded(shape: Any) -> dict[str, Any]:
    """A shape as JSON Schema."""
    if isinstance(shape, str):
        types = [NAMES[name] for name in shape.split(" | ")]
        return {"type": types if len(types) > 1 else types[0]}
    if isinstance(shape, list):
        return {"type": "array", "items": expanded(shape[0])}
    if isinstance(shape, tuple):
        return {"anyOf": [expanded(each) for each in shape]}
    keys = {key: expanded(value) for names, value in shape.items() for key in names.split()}
    others = keys.pop("*", False)
    return {
        "type": "object",
        "properties": {key.removesuffix("?"): value for key, value in keys.items()},
        "required": [key for key in keys if not key.endswith("?")],
        "additionalProperties": others,
    }
