"""Signatures of model files, which the package ``model-signing`` of the OpenSSF makes and verifies."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from posixpath import join, normpath
from typing import Any, Final

from portable_nn.core.errors import FileError, FormatError, MissingPackageError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.jsons import parsed_json
from portable_nn.core.kinds import check_kinds
from portable_nn.model_files.opening import path_of

__all__ = ["verify_signature"]

LARGEST: Final = 16 << 20
"""The most bytes of a signature: that of a folder has a line for each file."""


_STUMBLED: Final = (LookupError, TypeError, AttributeError, RecursionError, AssertionError)
"""What Python raises in code that expects other data: of no use to whoever reads it."""


@check_kinds
def verify_signature(
    model: str | Path,
    signature: str | Path,
    *,
    public_key: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    certificates: Sequence[str | Path] = (),
) -> str:
    """Verify that somebody whom you trust has signed the bytes of a model file, and say who, in words.

    The signature is one of https://github.com/sigstore/model-transparency, as
    ``model_signing sign key mine.safetensors --private_key key.pem --signature mine.safetensors.sig`` writes it. It is
    of that file alone, or of a folder, ``model_signing sign key FOLDER``: a model that keeps weights in other files
    needs one that lists them. Nothing of a model is parsed before all that the signature lists is as it was signed.

    Args:
        model: a shipped model, a weight file, an ONNX file, or another file of arrays.
        signature: the file of the signature.
        public_key: the PEM file of the elliptic-curve key that belongs to the one it was signed with.
        identity: in place of a key, who signed with Sigstore: an e-mail address or the URL of a workflow. This needs
            the network, for the roots of trust of Sigstore.
        issuer: the OpenID Connect provider that vouches for the identity, such as ``https://accounts.google.com``.
        certificates: in place of both, PEM files of the certificates that the signer's own leads back to.

    Raises:
        UsageError: none, or several, of a key, an identity with its issuer, and certificates are given.
        MissingPackageError: model-signing is not installed.
        FileError: a file cannot be read.
        FormatError: the signature is none, is by somebody else, or is of other bytes; or the model has weights in files
            that it does not list.

    Example:
        >>> pnn.verify_signature("mine.safetensors", "mine.safetensors.sig", public_key="key.pub")  # doctest: +SKIP
        'signed with the key of key.pub'
    """
    if [public_key is not None, identity is not None or issuer is not None, bool(certificates)].count(True) != 1:
        raise UsageError("a signature is verified by one of public_key, identity with issuer, and certificates")
    if (identity is None) != (issuer is None):
        raise UsageError("identity and issuer belong together: who signed, and which provider says so")
    path = path_of(model)
    keys = [*map(Path, [public_key] if public_key is not None else certificates)]
    for each in [path, *keys]:
        with open_regular(each):
            pass
    with open_regular(signature) as file:
        data = file.read(LARGEST + 1)
    verifier = _verifier()
    choose: Callable[[], object]
    if public_key is not None:
        who, choose = f"the key of {public_key}", lambda: verifier.use_elliptic_key_verifier(public_key=public_key)
    elif identity is not None:
        who, choose = (
            f"Sigstore by {identity} ({issuer})",
            lambda: verifier.use_sigstore_verifier(identity=identity, oidc_issuer=issuer),
        )
    else:
        who, choose = (
            f"a certificate that leads back to {', '.join(map(str, certificates))}",
            lambda: verifier.use_certificate_verifier(certificate_chain=[Path(each) for each in certificates]),
        )
    try:
        choose()
    except Exception as error:  # Whatever the libraries behind it raise for a key that is none, or without a network.
        raise FileError([path, *keys][-1], f"cannot be used to verify a signature: {_first(error)}") from error
    try:
        names = _names(data)
        folder = _folder(path, names)
        with tempfile.TemporaryDirectory() as place:  # What was looked at is what is verified.
            Path(place, "signature").write_bytes(data)
            verifier.set_ignore_unsigned_files(folder is not None).verify(folder or path, Path(place, "signature"))
    except Exception as error:  # Whatever those libraries raise is no valid signature.
        raise FormatError(signature, f"is no valid signature of {path} with {who}: {_first(error)}") from error
    _check_listed(path, folder, names)  # Only now the model is parsed.
    return f"signed with {who}"


def _names(data: bytes) -> frozenset[str]:
    """The files that a signature lists, by their names in the folder that was signed; ``.`` was signed alone."""
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    payload = parsed_json(base64.b64decode(parsed_json(data)["dsseEnvelope"]["payload"]))
    names = [str(each["name"]) for each in payload["predicate"]["resources"]]
    is_of_shards = payload["predicate"].get("serialization", {}).get("method") == "shards"
    return frozenset(name.rsplit(":", 2)[0] if is_of_shards else name for name in names)


def _folder(path: Path, names: Collection[str]) -> Path | None:
    """The folder that was signed: the nearest one of which the model is a listed file; none of a file alone."""
    if "." in names:
        return None
    whole = path.absolute()
    for folder in whole.parents:
        if whole.relative_to(folder).as_posix() in names:
            return folder
    raise ValueError(f"it lists {len(names)} files, and {path.name} is none of them")


def _check_listed(path: Path, folder: Path | None, names: Collection[str]) -> None:
    """Raise ``FormatError`` where a model has weights in files that the signature does not list."""
    if path.suffix.lower() == ".onnx":
        from portable_nn.onnx.storage.external import locations
        from portable_nn.onnx.storage.files import opening_model

        with opening_model(path) as model:
            others = sorted(name for name in locations(model) if Path(name).name != path.name)
        place = path.absolute().parent.relative_to(folder).as_posix() if folder else ""
        missing = [name for name in others if folder is None or normpath(join(place, name)) not in names]
        if missing:
            raise FormatError(
                path,
                f"has weights in other files ({', '.join(missing)}), which the signature does not list: "
                "sign the folder of all of them",
            )


def _verifier() -> Any:
    try:
        from model_signing.verifying import Config
    except ImportError:
        raise MissingPackageError("model-signing", "verifying signatures", "signing") from None
    return Config()


def _first(error: Exception) -> str:
    """The first sentence of what a library says, without the bytes of hashes in it."""
    if isinstance(error, _STUMBLED):
        return "it is not laid out as signatures of model-signing are"
    text = str(error).partition("[")[0].strip().rstrip(":.")
    return text or type(error).__name__
