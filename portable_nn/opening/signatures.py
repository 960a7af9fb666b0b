"""Signatures of model files, which the package ``model-signing`` of the OpenSSF makes and verifies."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import join, normpath
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import FileError, FormatError, MissingPackageError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.jsons import parsed_json
from portable_nn.core.private import copy_into, private_folder
from portable_nn.core.text import quantity, some
from portable_nn.opening.kinds import path_of

__all__ = ["verified_copy", "verify_signature"]

LARGEST: Final = 16 << 20
"""The most bytes of a signature: that of a folder has a line for each file."""

ALONE: Final = "."
"""The name that a signature has for the only file that was signed."""

_KEYS: Final = ({"mediaType", "verificationMaterial", "dsseEnvelope"}, {"payload", "payloadType", "signatures"})
"""The fields of a signature and of the envelope in it. Others could mean the same to another reader."""

_STUMBLED: Final = (LookupError, TypeError, AttributeError, RecursionError, AssertionError)
"""The errors that Python raises in code that expects other data: of no use to whoever reads it."""

Digest: TypeAlias = tuple[str, str, str]
"""Of a file or a shard: the bytes that it is of (``:0:100``, or none), the algorithm, and the digits."""


@dataclass(frozen=True)
class Verified:
    """A model whose signature was found valid.

    Attributes:
        path: the copy of it that was verified.
        signed: who has signed it, in words.
        unsigned: the files in the folder that was signed that the signature does not list, and the folders of such.
    """

    path: Path
    signed: str
    unsigned: tuple[str, ...] = ()

    def __str__(self) -> str:
        """All of it in words."""
        return f"{self.signed}; not signed: {some(self.unsigned)}" if self.unsigned else self.signed


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
    Other files in the folder are named.

    That is so at this moment: ``verified_copy`` gives a model to read that nobody can change any more.

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
            that it does not list, or is changed meanwhile.

    Example:
        >>> pnn.verify_signature("mine.safetensors", "mine.safetensors.sig", public_key="key.pub")  # doctest: +SKIP
        'signed with the key of key.pub'
    """
    signed = _signed(path_of(model), Path(signature), _Who(public_key, identity, issuer, certificates))
    with private_folder(signed.shown) as place:
        if signed.may_be_several:
            signed.copy(signed.name, place)
            signed.beside(place)
    return str(Verified(signed.path, signed.words, signed.unsigned))


@contextmanager
def verified_copy(
    model: str | Path,
    signature: str | Path,
    *,
    public_key: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
    certificates: Sequence[str | Path] = (),
) -> Iterator[Verified]:
    """Verify a signature as ``verify_signature`` does, and give a copy of the bytes that were verified to read.

    Whatever happens to the model meanwhile: ``path`` of the result is a file, with those that it keeps weights in
    beside it, in a folder for temporary files that only this user can enter; it is removed at the end of the block.

    The arguments are those of ``verify_signature``. Raises as that does, also where the copy finds no room.

    Example:
        >>> with pnn.verified_copy("mine.npz", "mine.npz.sig", public_key="key.pub") as found:  # doctest: +SKIP
        ...     network = pnn.load(found.path)
    """
    signed = _signed(path_of(model), Path(signature), _Who(public_key, identity, issuer, certificates))
    with private_folder(signed.shown) as place:
        copy = signed.copy(signed.name, place)
        for other in signed.beside(place) if signed.may_be_several else ():
            signed.copy(other, place)
        yield Verified(copy, signed.words, signed.unsigned)


class _Who(NamedTuple):
    """Whom a signature must be of."""

    public_key: str | Path | None
    identity: str | None
    issuer: str | None
    certificates: Sequence[str | Path]


class _Signed(NamedTuple):
    """A signature that was found valid.

    Args:
        path: the model.
        folder: the folder that was signed; of a file alone, its own.
        files: the digests of the files that are listed, by their names in the folder.
        hashed: how they were made.
        words: who has signed, in words.
        unsigned: the files in the folder that are not listed.
    """

    path: Path
    folder: Path
    files: Mapping[str, frozenset[Digest]]
    hashed: Mapping[str, Any]
    words: str
    unsigned: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model in the folder."""
        return self.path.absolute().relative_to(self.folder).as_posix()

    @property
    def shown(self) -> Path:
        """The folder as the user writes it, as far as that is possible."""
        depth = self.name.count("/")
        return self.path.parents[depth] if depth < len(self.path.parents) else self.folder

    @property
    def may_be_several(self) -> bool:
        """True if a model of this kind may keep weights in other files."""
        return self.path.suffix.lower() == ".onnx"

    def copy(self, name: str, place: Path) -> Path:
        """Copy a file into a private folder. Raises ``FormatError`` where the copy is not what was signed."""
        copy_into(place, self.shown / name, name)
        digests = _hashing(self.hashed).hash(place / name).resource_descriptors()
        found = {
            (each.identifier.removeprefix(ALONE), each.digest.algorithm, each.digest.digest_hex) for each in digests
        }
        if found != self.files[name]:
            raise FormatError(self.shown / name, "was changed while its signature was verified, and is not read")
        return place / name

    def beside(self, place: Path) -> list[str]:
        """The files in which the model keeps weights, of which a private folder has a copy.

        Raises ``FormatError`` where they are not listed.
        """
        from portable_nn.onnx.storage.files import data_files

        parent = PurePosixPath(self.name).parent.as_posix()
        found = {normpath(join(parent, each)): each for each in data_files(place / self.name)}
        found.pop(self.name, None)
        if missing := [each for name, each in sorted(found.items()) if name not in self.files]:
            raise FormatError(
                self.path,
                f"has weights in other files ({', '.join(missing)}), which the signature does not list: "
                "sign the folder of all of them",
            )
        return sorted(found)


def _signed(path: Path, signature: Path, who: _Who) -> _Signed:
    """The contents of a signature, after all files that it lists were found to be as they were signed. Raises as the
    others do."""
    key, identity, issuer, certificates = who
    if [key is not None, (identity, issuer) != (None, None), bool(certificates)].count(True) != 1:
        raise UsageError("a signature is verified by one of public_key, identity with issuer, and certificates")
    if (identity is None) != (issuer is None):
        raise UsageError("identity and issuer belong together: who signed, and which provider says so")
    keys = [*map(Path, [key] if key is not None else certificates)]
    for each in [path, *keys]:
        with open_regular(each):
            pass
    with open_regular(signature) as file:
        data = file.read(LARGEST + 1)
    verifier = _verifier()
    if key is not None:
        whose, choose = f"the key of {key}", partial(verifier.use_elliptic_key_verifier, public_key=key)
    elif identity is not None:
        whose = f"Sigstore by {identity} ({issuer})"
        choose = partial(verifier.use_sigstore_verifier, identity=identity, oidc_issuer=issuer)
    else:
        whose = f"a certificate that leads back to {', '.join(map(str, certificates))}"
        choose = partial(verifier.use_certificate_verifier, certificate_chain=keys)
    try:
        choose()
    except Exception as error:  # Whatever the libraries behind it raise for a key that is none, or without a network.
        raise FileError([path, *keys][-1], f"cannot be used to verify a signature: {_first(error)}") from error
    try:
        files, hashed = _listed(data)
        folder = _folder(path, files)
        if folder and hashed["method"] == "shards":
            raise ValueError("it is of a folder in shards, which model-signing cannot verify: sign it by files")
        with private_folder(signature.parent) as place:  # What was looked at is what is verified.
            (place / signature.name).write_bytes(data)
            verifier.set_ignore_unsigned_files(folder is not None).set_hashing_config(_hashing(hashed))
            verifier.verify(folder or path, place / signature.name)
    except Exception as error:  # Whatever those libraries raise is no valid signature.
        raise FormatError(signature, f"is no valid signature of {path} with {whose}: {_first(error)}") from error
    if folder is None:
        return _Signed(path, path.absolute().parent, {path.name: files[ALONE]}, hashed, f"signed with {whose}", ())
    unsigned = tuple(sorted(_unsigned(folder, files, signature)))
    return _Signed(path, folder, files, hashed, f"signed with {whose}", unsigned)


def _listed(data: bytes) -> tuple[Mapping[str, frozenset[Digest]], Mapping[str, Any]]:
    """The digests of the files that a signature lists, by name, and how they were made."""
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    bundle = parsed_json(data)
    envelope = bundle["dsseEnvelope"]
    if not all(each.keys() <= known for each, known in zip((bundle, envelope), _KEYS, strict=True)):
        raise LookupError
    predicate = parsed_json(base64.b64decode(envelope["payload"], validate=True))["predicate"]
    hashed, found = predicate["serialization"], dict[str, set[Digest]]()
    for each in predicate["resources"]:
        name = str(each["name"])
        file = name.rsplit(":", 2)[0] if hashed["method"] == "shards" else name
        digest = name.removeprefix(file), str(each["algorithm"]), str(each["digest"])
        found.setdefault(file, set()).add(digest)
    return {name: frozenset(digests) for name, digests in found.items()}, hashed


def _hashing(hashed: Mapping[str, Any]) -> Any:
    """The function that makes digests as they were made."""
    from model_signing.hashing import Config

    if hashed["method"] == "shards":  # The size was written as a decimal fraction, by model-signing 1.1 at least.
        kind, size = hashed["hash_type"], int(hashed["shard_size"])
        return Config().use_shard_serialization(hashing_algorithm=kind, shard_size=size)
    return Config().use_file_serialization(hashing_algorithm=hashed["hash_type"])


def _folder(path: Path, files: Mapping[str, object]) -> Path | None:
    """The folder that was signed: the nearest one of which the model is a listed file; none of a file alone."""
    if ALONE in files:
        return None
    whole = path.absolute()
    for folder in whole.parents:
        if (name := whole.relative_to(folder).as_posix()) in files and ".." not in PurePosixPath(name).parts:
            return folder
    raise ValueError(f"it lists {quantity(len(files), 'file')}, and {path.name} is none of them")


def _unsigned(folder: Path, files: Mapping[str, object], signature: Path) -> Iterator[str]:
    """The files in a folder that are not listed, but for the signature; of a folder without any that is, the name."""
    parents = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents}
    for root, folders, names in os.walk(folder):
        place = Path(root).relative_to(folder)
        for each in names:
            if (place / each).as_posix() not in files and Path(root, each).resolve() != signature.resolve():
                yield (place / each).as_posix()
        for each in list(folders):
            if (place / each).as_posix() not in parents:
                folders.remove(each)
                yield f"{(place / each).as_posix()}/"


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
