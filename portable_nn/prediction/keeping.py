"""Copies of models that say how pictures are prepared for them."""

from __future__ import annotations

import copy
from pathlib import Path

from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import write_whole
from portable_nn.core.errors import UsageError
from portable_nn.core.text import either
from portable_nn.network import Network
from portable_nn.opening.kinds import WRITABLE, open_model
from portable_nn.opening.onnx_file import OnnxFile
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.preprocessing.steps import Preprocessing

__all__ = ["keep_preprocessing"]


@check_kinds
def keep_preprocessing(
    model: str | Path | Network,
    path: str | Path,
    preprocess: Preprocess,
    *,
    digest: str | None = None,
    edited: bool = False,
) -> tuple[str, ...]:
    """Write a copy of a model that says how pictures are prepared for it; ``predict`` then does so unasked.

    In a weight file, and in an ONNX file of this package, arithmetic (mean, std, order of axes) becomes nodes of the
    graph, and the steps before it (size, colours) are listed in the manifest. An ONNX file of another program stays as
    it is, but for an entry of its metadata, which only this package reads.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file; with one input.
        path: the file to write: a weight file or an ONNX file. One that exists is replaced.
        preprocess: how pictures are prepared, as ``predict`` takes it.
        digest, edited: as ``predict`` takes them.

    Returns the steps in words.

    Raises:
        UsageError: a preparation that does not fit the input, or a path of another kind.
        FileError, FormatError: the model cannot be read, or the copy not written.

    >>> import portable_nn as pnn
    >>> pnn.keep_preprocessing("resnet18.onnx", "resnet18-photos.onnx", "imagenet")  # doctest: +SKIP
    """
    target = Path(path)
    if target.suffix.lower() not in WRITABLE:
        raise UsageError(f"{target}: the name of the copy must end in {either(WRITABLE)}")
    options = ModelOptions(digest=digest, edited=edited, preprocess=preprocess)
    found = options.opened(model)
    entry = found.only_input()
    steps = found.prepared(entry, options.preparation).info.preprocessing
    opened = None if isinstance(model, Network) else open_model(model, digest=digest, edited=edited)
    if isinstance(opened, OnnxFile) and target.suffix.lower() in OnnxFile.suffixes and not opened.is_own:
        _write_entry(opened, target, entry.name, steps)
    else:
        network = model if isinstance(model, Network) else opened.proved_network() if opened else None
        assert network
        _write_network(network, target, steps)
    return tuple(map(str, steps))


def _write_network(network: Network, target: Path, steps: Preprocessing) -> None:
    """A network whose manifest has the steps for pictures, and whose graph has the arithmetic."""
    from portable_nn.network.preparing import steps_inside

    [info] = network.inputs
    made = copy.copy(network)
    made.inputs = (replace(info, kind="image", preprocessing=steps),)
    save_network(steps_inside(made), target)


def save_network(network: Network, path: str | Path) -> None:
    """Write a network into a weight file or, verified, an ONNX file, by the suffix.

    Raises ``UsageError`` for another suffix, and as ``Network.save`` and ``export_onnx`` do.
    """
    kind = WRITABLE.get(Path(path).suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: the name of the file to write must end in {either(WRITABLE)}")
    if kind is OnnxFile:
        from portable_nn.converters.onnx import export_onnx

        export_onnx(network, path)
    else:
        network.save(path)


def _write_entry(opened: OnnxFile, target: Path, name: str, steps: Preprocessing) -> None:
    """The model of another program with an entry in its metadata."""
    from portable_nn.onnx.storage.external import locations
    from portable_nn.onnx.storage.preparation import PREPARATION, preparation_text

    model = opened.alone()
    files = sorted(locations(model))
    if files and not opened.path.resolve().parent.samefile(target.absolute().parent):
        where = f"the copy must be in the folder of the model, whose weights are in {', '.join(files)}"
        raise UsageError(f"{target}: {where}")
    kept = [each for each in model.metadata_props if each.key != PREPARATION]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=PREPARATION, value=preparation_text({name: steps}))
    write_whole(target, model.SerializeToString(deterministic=True))
