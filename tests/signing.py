"""Keys and signatures, made by cryptography and by model-signing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


def key(number: int = 1) -> Any:
    """A private key that is always the same: no secret."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason="signatures need cryptography")
    return ec.derive_private_key(number, ec.SECP256R1())


def write_public_key(path: Path, number: int = 1) -> Path:
    found = key(number)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    path.write_bytes(found.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def sign(model: Path, signature: Path, number: int = 1, ignored: Sequence[Path] = (), **shards: Any) -> Path:
    """Sign a file or folder, whole or, with options of ``use_shard_serialization``, in shards."""
    signing = pytest.importorskip("model_signing.signing", reason="signatures need model-signing")
    found = key(number)
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = signature.with_suffix(".key")
    secret.write_bytes(found.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    hashed = pytest.importorskip("model_signing.hashing").Config().set_ignored_paths(paths=ignored)
    if shards:
        hashed.use_shard_serialization(**shards)
    signing.Config().use_elliptic_key_signer(private_key=secret).set_hashing_config(hashed).sign(model, signature)
    secret.unlink()
    return signature
