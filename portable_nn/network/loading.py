"""Networks from weight files."""

from __future__ import annotations

from pathlib import Path

from portable_nn.catalog import CALLED
from portable_nn.core.arguments import check_kinds
from portable_nn.format import MappedTensors, Verify
from portable_nn.format import load as load_file
from portable_nn.network.network import Network, remade

__all__ = ["load"]


@check_kinds
def load(
    path: str | Path,
    *,
    lazy: bool = False,
    verify: Verify | None = None,
    digest: str | None = None,
    opaque: bool = True,
) -> Network:
    """The network in a weight file, with nothing else needed.

    Args:
        path: the file, or the name of a shipped model, such as ``digits``.
        lazy: map the weights instead of reading them: opened at once however large, and read-only until ``fit`` or
            ``own_weights`` copies them.
        verify: ``"eager"``: check all weights now; ``"lazy"``: each on its first use, as is usual with ``lazy``;
            ``"off"``: trust the disk.
        digest: the digest that the network must have, as ``save`` gave it and ``portable-nn inspect`` prints it.
        opaque: whether the network may have nodes that onnxruntime runs; otherwise such a file is refused by name.

    Warns with ``EditedWarning`` where another program has re-saved the file. Raises ``FileError`` where the file
    cannot be read, ``FormatError`` where it is damaged, not a weight file, or not
    the network of that ``digest``, and ``UnsupportedError`` for what ``opaque`` does not allow.
    """
    path = CALLED[path].weights if isinstance(path, str) and path in CALLED else path
    contents = load_file(path, lazy=lazy, verify=verify, digest=digest, opaque=opaque).noted(path)
    manifest, tensors = contents.manifest, contents.tensors
    if manifest.training:  # A checkpoint: the state of its training is for ``fit``.
        names = [value.name for value in manifest.graph.parameters]
        tensors = (
            tensors.subset(names) if isinstance(tensors, MappedTensors) else {name: tensors[name] for name in names}
        )
    return remade(manifest, tensors)
