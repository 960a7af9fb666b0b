"""The files of onnxruntime-web that a page carries: found on this machine, or fetched once by npm."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Final

from portable_nn.core.atomic import write_whole
from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.files import open_regular

VERSION: Final = "1.30.0"
"""The version that is fetched."""

MODULE: Final = "ort.wasm.bundle.min.mjs"
PROGRAM: Final = "ort-wasm-simd-threaded.wasm"
NOTICES: Final = "ThirdPartyNotices.txt"
"""The licences of what ONNX Runtime is built from: the npm package has no such file, the one for Python does."""

KNOWN: Final = {
    "1.30.0": {
        MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        PROGRAM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    },
}
"""The SHA-256 of the files, by version."""

LICENCE: Final = """\
MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO
EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""The licence of onnxruntime-web, which asks that every copy has it."""


@dataclass(frozen=True)
class Runtime:
    """onnxruntime-web as a page carries it.

    Attributes:
        version: its version, as the module says it.
        module: the JavaScript module.
        program: the WebAssembly program.
        notices: the licences of the software of others in it, as text.
        known: whether both are byte for byte those of a version in ``KNOWN``.
    """

    version: str
    module: bytes
    program: bytes
    notices: bytes
    known: bool


def cache() -> Path:
    """The user's folder for what is fetched once; ``XDG_CACHE_HOME`` moves it."""
    usual = {"win32": os.environ.get("LOCALAPPDATA", "~/AppData/Local"), "darwin": "~/Library/Caches"}
    base = os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, "~/.cache")
    return Path(base).expanduser() / "portable-nn" / f"onnxruntime-web-{VERSION}"


def find_runtime(folder: str | Path | None = None) -> Runtime:
    """The runtime in a folder of the npm package onnxruntime-web (its ``dist``, or what holds that), or in the cache.

    Raises ``UsageError`` where there is none: the message says what to run.
    """
    places = [cache()] if folder is None else _within(Path(folder))
    for place in places:
        if (place / MODULE).is_file() and (place / PROGRAM).is_file():
            return _read(place)
    if folder is not None:
        raise UsageError(
            f"--runtime {folder}: expected the folder dist of the npm package onnxruntime-web, "
            f"with {MODULE} and {PROGRAM}"
        )
    raise UsageError(
        "a page carries onnxruntime-web, which is not on this machine yet: --runtime fetch gets it once from npm "
        f"(version {VERSION}, checked by its SHA-256), or --runtime DIR says where the npm package is"
    )


def fetch_runtime() -> Path:
    """Get the two files of version ``VERSION`` by ``npm pack`` into the cache, unless they are there; the folder.

    npm asks the registry that it is configured for. Files with another SHA-256 than that in ``KNOWN`` are not kept.
    Beside them stand the notices of the software of others in them.

    Raises:
        UsageError: there is no npm, or it fails.
        FileError: the files are not the known ones, or cannot be written.
    """
    found = cache()
    if (found / MODULE).is_file() and (found / PROGRAM).is_file() and _read(found).known:
        return found
    npm = which("npm")
    if npm is None:
        raise UsageError("--runtime fetch needs npm, which Node.js brings; or copy the npm package here: --runtime DIR")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--silent", "--pack-destination", folder]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            said = (done.stderr.strip() or done.stdout.strip() or "no words").splitlines()[-1]
            raise UsageError(f"npm pack onnxruntime-web@{VERSION} failed: {said}")
        with tarfile.open(packed) as archive:
            contents = {name: _member(archive, name, packed) for name in KNOWN[VERSION]}
    for name, content in contents.items():
        _check(found / name, content, VERSION)
    found.mkdir(parents=True, exist_ok=True)
    for name, content in {**contents, NOTICES: _notices(found)}.items():
        write_whole(found / name, content)
    return found


def _within(folder: Path) -> list[Path]:
    return [folder, folder / "dist", folder / "onnxruntime-web" / "dist", folder / "node_modules/onnxruntime-web/dist"]


def _read(folder: Path) -> Runtime:
    module, program = (_bytes(folder / name) for name in (MODULE, PROGRAM))
    found = re.search(rb"ONNX Runtime Web v([0-9][0-9a-zA-Z.-]*)", module[:1000])
    if found is None:
        raise FileError(folder / MODULE, "does not say which version of ONNX Runtime Web it is")
    version = found[1].decode()
    if version in KNOWN:
        _check(folder / MODULE, module, version)
        _check(folder / PROGRAM, program, version)
    return Runtime(version, module, program, _notices(folder), version in KNOWN)


def _notices(folder: Path) -> bytes:
    """The notices in a folder, or else those of the onnxruntime that Python uses."""
    installed = find_spec("onnxruntime")
    places = [folder, *map(Path, (installed and installed.submodule_search_locations) or ())]
    for path in (place / NOTICES for place in places):
        if path.is_file():
            return _bytes(path)
    raise FileError(folder / NOTICES, "is missing, and so it is in the installed onnxruntime: a page must carry it")


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _check(path: Path, content: bytes, version: str) -> None:
    found, expected = hashlib.sha256(content).hexdigest(), KNOWN[version][path.name]
    if found != expected:
        raise FileError(path, f"is not that of onnxruntime-web {version}: its SHA-256 is {found}, expected {expected}")


def _member(archive: tarfile.TarFile, name: str, path: Path) -> bytes:
    try:
        file = archive.extractfile(f"package/dist/{name}")
    except KeyError:
        file = None
    if file is None:
        raise FileError(path, f"the package has no file dist/{name}")
    return file.read()
