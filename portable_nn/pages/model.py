"""A model as one HTML file that runs it in a browser, offline."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from portable_nn.catalog import CALLED
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import write_whole
from portable_nn.core.errors import UnsupportedError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import FloatType
from portable_nn.core.text import size
from portable_nn.core.version import __version__
from portable_nn.data.images import SUFFIXES
from portable_nn.network import Network
from portable_nn.onnx.samples import meant, varied
from portable_nn.onnx.verify import Proof
from portable_nn.opening.kinds import open_model
from portable_nn.pages.describing import PICTURES, PageKind, Subject, as_data, assumed, check_of, layers_of, subject
from portable_nn.pages.runtime import LICENCE, find_runtime
from portable_nn.pages.template import fill
from portable_nn.prediction.options import ModelOptions, Preprocess

__all__ = ["to_html"]

ARRAYS: Final = {".npy"}

LONGEST: Final = 2**29 - 24
"""The most characters of one text in V8, the engine of Chrome and Edge: the model is one."""

TOO_LONG: Final = "the page has {}, and Chrome and Edge read no text of more than 537 MB: Firefox may"


@dataclass(frozen=True)
class PageReport:
    """A page that ``to_html`` wrote.

    Attributes:
        path: the file.
        bytes: its size.
        kind: what it shows: ``picture``, ``table``, ``generator``, ``series`` or ``numbers``.
        outputs: the largest differences between numpy and onnxruntime on the exported model, by output.
        runtime: the version of onnxruntime-web in it.
        notes: what people must know.
    """

    path: Path
    bytes: int
    kind: PageKind
    outputs: Proof
    runtime: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n  ".join([f"{self.path} ({size(self.bytes)}, a page for {KINDS[self.kind]})", *self.notes])


KINDS: dict[PageKind, str] = {
    "picture": "pictures",
    "table": "rows of a table",
    "generator": "a generator",
    "series": "a series",
    "numbers": "numbers",
}


@check_kinds
def to_html(
    model: str | Path | Network,
    path: str | Path,
    *,
    runtime: str | Path | None = None,
    preprocess: Preprocess | None = None,
    samples: Sequence[str | Path] | None = None,
    labels: Sequence[str] | str | Path | None = None,
    dtype: FloatType | None = None,
) -> PageReport:
    """Write ``model`` as one HTML file that runs it in any browser of today, offline, from the disk.

    The file holds the model as ONNX, after numpy and onnxruntime have computed the same numbers from it, and
    onnxruntime-web: 5 MB beside the model. What it shows follows from what the model takes and gives: a field to draw
    on, a form, sliders, a chart, or arrays. When it is opened, it runs the model on inputs whose outputs Python
    computed, and says how far it is from them.

    >>> import portable_nn as pnn
    >>> pnn.to_html("digits", "digits.html").kind
    'picture'

    Args:
        model: a network, the name of a shipped model, a weight file, or any file of a model that can be imported.
        path: the file to write; one at this path is replaced as a whole, or stays as it was.
        runtime: the folder ``dist`` of the npm package onnxruntime-web; by default what ``portable-nn export
            --runtime fetch`` has put into the user's cache.
        preprocess: how pictures are prepared, as ``predict`` takes it, instead of as the model says.
        samples: up to 12 pictures, a folder of pictures, or for a series a ``.npy`` file, to begin with; by default
            those of a shipped model.
        labels: the names of the classes, instead of those in the model, or a file with them, as ``predict`` takes it.
        dtype: ``float32`` for a network of float64, as ``export_onnx`` takes it.

    Raises:
        UsageError: there is no runtime (the message says what to run), a model that is no network, or one with an input
            or output of no numbers, samples that its page does not show, ``preprocess`` for one that takes no pictures,
            or ``labels`` for one with other classes.
        FileError, FormatError, UnsupportedError: the model cannot be read or exported, or the page not written.
        VerificationError: numpy and onnxruntime do not agree on the exported model.
    """
    files = find_runtime(runtime)
    network = model if isinstance(model, Network) else open_model(model).proved_network()
    options = ModelOptions(preprocess=preprocess, labels=labels)
    described = options.opened(model)
    names = options.names
    for name in (*(value.name for value in network.graph.inputs), *network.graph.outputs):
        if 0 in (shape := network.types[name].shape):
            raise UsageError(f"a page shows numbers, and '{name}' {format_shape(shape)} of this model has none")
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "model.onnx"
        try:
            report = export_onnx(network, exported, external_data=False, columns=False, dtype=dtype)
        except UnsupportedError as error:
            raise UnsupportedError(path, error.reason) from error
        content = exported.read_bytes()
        runnable = open_model(exported).runnable(described.where, "onnxruntime")
        rng = np.random.default_rng(0)
        feeds = varied(network.graph, rng, meant(network.graph, network.parameters, network.inputs))[0]
        feeds = {name: array for name, array in feeds.items() if name in {value.name for value in runnable.inputs}}
        shown = subject(runnable, described, options.preparation, feeds, names)
        if preprocess is not None and shown.kind != "picture":
            raise UsageError(f"preprocess prepares pictures, and this model gives a page for {KINDS[shown.kind]}")
        layers, more = layers_of(content, network)
        data = {
            "title": _title(model, network),
            "version": __version__,
            "runtime": files.version,
            "licence": LICENCE,
            "facts": _facts(network, content),
            **as_data(shown, network.graph, _given(model, samples, shown)),
            "check": check_of(runnable.run, feeds),
            "layers": layers,
        }
    binary = {
        "runtime-module": files.module,
        "runtime-program": files.program,
        "model": content,
        "layers": more,
        "notices": files.notices,
    }
    page = fill("model", f"{data['title']} · Portable NN", data, binary)
    write_whole(path, page)
    notes = [] if len(page) <= LONGEST else [TOO_LONG.format(size(len(page)))]
    notes += [] if files.known else [f"onnxruntime-web {files.version} is none of the versions that are tested here"]
    return PageReport(Path(path), len(page), shown.kind, report.outputs, files.version, (*notes, *assumed(shown)))


def _title(model: str | Path | Network, network: Network) -> str:
    if isinstance(model, Network):
        return network.graph.name
    return str(model) if model in CALLED else Path(model).stem


def _facts(network: Network, content: bytes) -> list[list[str]]:
    return [
        _fact(sum(parameter.size for parameter in network.parameters.values()), "parameter"),
        _fact(len(network.graph.nodes), "operator"),
        ["model", size(len(content))],
    ]


def _fact(count: int, thing: str) -> list[str]:
    """A heading, and a number with thousands marked."""
    return [thing if count == 1 else f"{thing}s", f"{count:,}"]


def _given(model: str | Path | Network, samples: Sequence[str | Path] | None, shown: Subject) -> list[Path]:
    """The files of samples: those given, the first of a folder, or those of a shipped model."""
    wanted = SUFFIXES if shown.kind == "picture" else ARRAYS

    def inside(folder: Path) -> list[Path]:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in wanted)

    if samples is not None:
        given = map(Path, samples)
        paths = [file for path in given for file in (inside(path)[:PICTURES] if path.is_dir() else [path])]
        if len(paths) > PICTURES:
            raise UsageError(f"samples: a page holds {PICTURES} at most, and these are {len(paths)}")
        if missing := [path for path in paths if not path.is_file()]:
            raise UsageError(f"samples: there is no file {missing[0]}")
        return paths
    if isinstance(model, Network) or str(model) not in CALLED or shown.kind not in ("picture", "series"):
        return []
    return inside(CALLED[str(model)].samples)
