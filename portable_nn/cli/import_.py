"""``portable-nn import``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from portable_nn.cli.options import ClassNames, Edited, choice, class_names, listed
from portable_nn.cli.printing import Printer
from portable_nn.cli.proof import (
    ConversionProof,
    Dims,
    proof_as_json,
    proof_as_text,
    proof_fields,
    renames_in,
    sizes_in,
)
from portable_nn.cli.training import weight_file
from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.names import FUNCTIONS, Prepare
from portable_nn.core.text import either, fields, size

if TYPE_CHECKING:
    from portable_nn.converters.onnx import Imported

EXAMPLES = (
    "import digits.onnx digits.safetensors",
    "import somebody.onnx theirs.safetensors --io theirs.npz",
    "import wih.npy who.npy mine.safetensors",
    "import network.json mine.safetensors",
    "import weights.npz mine.safetensors --layers 4-16-3 --activation tanh",
    "import logistic.npz mine.safetensors --rename W=dense_1.weight.T --rename b=dense_1.bias --rename lr=",
    "import wih.npy who.npy mine.safetensors --dtype float32",
    "import theirs.pt mine.safetensors --against digits",
    "import theirs.keras mine.safetensors",
    "import theirs.keras mine.safetensors --against fork.safetensors --rename map.json",
    "import theirs.onnx mine.safetensors --labels classes.txt",
    "import speech.onnx mine.safetensors --value sr=16000",
)

FLAGS: Final = {
    "into": "--against",
    "map": "--rename",
    "prove_training": "--verify training",
    "sizes": "--dim",
    "train": "--freeze",
    "values": "--value",
    "verify": "--verify",
}
"""The options of arguments of the library that have other names."""

ARRAYS: Final = (
    "load it in Python, and write its arrays with np.savez('weights.npz', **arrays), or np.savez('weights.npz', "
    "*weights, *biases) if they are in lists"
)
"""The way out for files that only Python reads."""

HINTS: Final = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib"),
        f". A pickle may run any code, so it is not read: where you trust it, {ARRAYS}, or convert the model: "
        "from_torch, from_sklearn",
    ),
    ".pt2": ". A program of torch.export is read as ONNX: in Python, "
    "torch.onnx.export(torch.export.load(PATH), f='model.onnx') writes it",
}
"""The ways out by the ends of names."""


@dataclass(frozen=True)
class LayerOptions:
    """The layers that the arrays in a file belong to, where no graph says it."""

    SUBJECT = "Arrays"

    into: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="MODEL",
            help="The model to load the weights into: those of a state dict, or of a model with the same architecture.",
        ),
    ] = None
    layers: Annotated[
        str | None,
        typer.Option(metavar="LAYERS", help="Sizes of the layers in a file of arrays: 784-200-10."),
    ] = None
    activation: Annotated[
        str | None,
        choice(
            "--activation",
            names=FUNCTIONS,
            help="Function after each of these layers except the last; a second one is for the last layer: "
            "tanh,softmax; or one for each layer.",
            after=",",
            hidden=True,
        ),
    ] = None
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW|FILE.json",
            help="New name of an array: its name in MODEL, or dense_1.weight (a row for each output) and "
            "dense_1.bias. NEW.T transposes it, OLD= leaves it out. Repeatable. Or a file of such names; with "
            "--against, import writes one to review if there is none.",
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """The arguments of the library that are given."""
        from portable_nn.recipes.classifier import parse_layers

        files = [text for text in self.rename or () if "=" not in text and text.endswith(".json")][:1]
        given = {
            "into": self.into,
            "map": Path(files[0]) if files else None,
            "layers": parse_layers(self.layers) if self.layers else None,
            "activation": listed([self.activation or ""]),
            "rename": renames_in([text for text in self.rename or () if text not in files]),
        }
        return {name: value for name, value in given.items() if value}


def command(
    printer: Printer,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="An ONNX or .keras file; a file of arrays; or a book's network.json, or wih.npy and who.npy, or "
            "their folder.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The weight file to write; its suffix sets the format.",
            writable=True,
            callback=weight_file,
        ),
    ],
    dim: Dims = None,
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER,…", help="Make an input of an ONNX file a constant: sr=16000.", hidden=True),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN,…",
            help="Parameters to keep constant, such as 'encoder.*'; '!logit_scale' is trained.",
        ),
    ] = None,
    labels: ClassNames = None,
    edited: Edited = False,
    dtype: Annotated[
        Literal["float32"] | None,
        typer.Option(
            help="Convert a book's network to float32.  [default: the numbers of the files, bit for bit]", hidden=True
        ),
    ] = None,
    preprocess: Annotated[
        Prepare | None,
        typer.Option(
            help="Find digits in photographs, or use the inputs of arrays unchanged.  [default: digits for a book's "
            "network]",
            hidden=True,
        ),
    ] = None,
    *,
    arrays: LayerOptions,
    proof: ConversionProof,
) -> None:
    """Read an ONNX file, or one of another code base, into a weight file, and verify it.

    Before anything is written, numpy runs the network and onnxruntime the ONNX file on the same inputs, at two batch
    sizes. The largest difference in each output is printed. If it exceeds the tolerances, the first node that differs
    is named, nothing is written and the exit code is 1. A file that export wrote is restored with labels and
    preprocessing. It is refused if its weights or options were changed, unless another tool has rewritten its graph.

    Two .npy files are the network of T. Rashid's beginner's book: wih (hidden nodes, inputs), then who (outputs, hidden
    nodes). They are verified against the formula of the book. 784 inputs are taken as the pixels of a digit. tune
    trains the network further with the book's squared error, and export writes float32 unless --dtype float64 is given.
    A .json file is a network that network2.py of M. Nielsen's book saved.

    A file of arrays (.npz, .safetensors, HDF5 or .pt) holds dense layers: each weight is followed by its bias, or all
    weights by all biases, in the order of the file or of --rename. The layers are verified against their formula. With
    --against, the file is the state dict of MODEL: names, layouts and gate orders of PyTorch are understood, and
    PyTorch verifies the result. A .weights.h5 file of Keras needs --against as well. A .keras file is verified by
    Keras, if it is installed. PyTorch and Keras take seconds to start. No code in any file is executed.

    With --against, IN may also be a model with the same architecture and other names. Weights are matched by the nodes
    that read them, including transposes and gate orders. --rename FILE.json writes the names that were matched, once
    both models compute the same; matches that the graphs leave open must be given by name.

    A PyTorch module becomes a network in Python: pnn.read_torch(module, example).network.save("mine.safetensors").
    """
    from portable_nn.analysis.rules import notes_on_nan
    from portable_nn.converters.onnx.adapting import with_any_batch
    from portable_nn.network.classes import declare_classes
    from portable_nn.onnx.roles import counted
    from portable_nn.prediction.labels import read_labels
    from portable_nn.recipes.digits import said

    patterns = listed(freeze)
    given = {
        "sizes": sizes_in(dim),
        "values": _values_in(value),
        "edited": edited,
        "train": [pattern[1:] for pattern in patterns if pattern.startswith("!")],
        "freeze": [pattern for pattern in patterns if not pattern.startswith("!")],
        "dtype": dtype,
        "preprocess": preprocess,
    }
    given = {name: value for name, value in given.items() if value} | arrays.options() | proof.given()
    names = read_labels(found) if isinstance(found := class_names(labels), Path) else found
    network, outputs, notes = _read(sources, given)
    if given.get("verify", True):
        network, opened = with_any_batch(network)
        notes = (*notes, *opened)
    declare_classes(network, names or ())
    network.save(out)
    printer.notes([*notes, *outputs.notes, *notes_on_nan(network.parameters.arrays)])
    count, trained = out.stat().st_size, counted(network.graph)
    prepared = {} if sources[0].suffix.lower() == ".onnx" else said(network)  # An exported network keeps its own.
    shown = [
        *proof_fields(outputs),
        ("trained", str(trained)),
        *prepared.items(),
        ("written", f"{out} ({size(count)})"),
    ]
    data = {
        "model": ", ".join(map(str, sources)),
        "path": str(out),
        "bytes": count,
        "trained": trained.weights,
        "constants": trained.constants,
        **prepared,
        **proof_as_json(outputs),
        "notes": [*notes, *outputs.notes],
    }
    printer.result(proof_as_text(outputs, proof.io) + fields(shown), data)


def _values_in(pairs: list[str] | None) -> dict[str, float]:
    """The values that ``--value NAME=NUMBER`` gives. Raises ``UsageError``."""
    found = dict[str, float]()
    for text in listed(pairs):
        name, _, word = text.rpartition("=")
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number) or name in found:
            raise UsageError(f"--value needs NAME=NUMBER, each name once, such as sr=16000, not '{text}'")
        found[name] = number
    return found


def _read(sources: list[Path], given: dict[str, Any]) -> Imported:
    """Read files by the converter of their names, with the options that are ``given``."""
    from portable_nn.converters.registry import check_options, endings, loader_of, reader_of
    from portable_nn.converters.transfer import import_weights
    from portable_nn.format import has_manifest
    from portable_nn.opening import open_network

    path = sources[0]
    if len(sources) == 1 and not path.exists():
        raise FileError(path, "does not exist")
    # Several files, or a folder, are those of a book's network.
    named = Path("wih.npy") if len(sources) > 1 or path.is_dir() else path
    is_own = path.is_file() and has_manifest(path)
    loads = None if is_own or "into" not in given else loader_of(named)
    found = loads or reader_of(named)
    if found is None:
        hint = HINTS.get(path.suffix.lower(), f". If it holds weights, {ARRAYS}")
        raise UsageError(f"{path}: the name of a file to import ends in {either(endings())}{hint}")
    if "into" in given:
        given["into"] = open_network(given["into"])
        if loads is None:
            check_options(import_weights, "models that are read into another", given, FLAGS)
            return import_weights(open_network(path), **given)
    if is_own:
        raise UsageError(f"{path}: is a weight file of portable-nn: portable-nn convert writes it in another format")
    origin, read = found
    check_options(read, origin.title, given, FLAGS)
    if "lazy" in signature(read).parameters:  # Each weight is read, written and forgotten.
        given["lazy"] = True
    return read(*sources, **given)
