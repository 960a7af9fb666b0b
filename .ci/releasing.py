"""Parts of a release: ``version 1.2.0`` sets the version, ``provenance FOLDER`` names the commit of built files."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


def set_version(version: str, date: str = "") -> None:
    """Write a version into the package, the citation and the changelog, with the date of release: by default today."""
    if not re.fullmatch(VERSION, version):
        raise SystemExit(f"{version!r} is no version: three numbers are expected, as 1.2.0 or 1.2.0rc1")
    date = date or f"{datetime.now(UTC):%Y-%m-%d}"
    changes = (
        ("CHANGELOG.md", rf"^## {re.escape(version)} \((?:not yet released|[\d-]+)\)$", f"## {version} ({date})"),
        ("portable_nn/core/version.py", rf'^__version__ = "{VERSION}"$', f'__version__ = "{version}"'),
        (
            "CITATION.cff",
            rf"^version: {VERSION}(?:\ndate-released: .*)?$",
            f"version: {version}\ndate-released: {date}",
        ),
    )
    texts = {}
    for name, pattern, line in changes:
        texts[name], count = re.subn(pattern, line, Path(name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        if count != 1:
            raise SystemExit(f"{name}: expected one line that can become {line!r}, found {count}")
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")


def write_provenance(folder: str) -> None:
    """Write an in-toto statement with SLSA provenance of the files of a folder, unsigned."""
    built = sorted(path for path in Path(folder).iterdir() if path.suffix in {".whl", ".gz", ".json"})
    [wheel] = [path for path in built if path.suffix == ".whl"]
    with zipfile.ZipFile(wheel) as archive:
        [about] = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
    name, version = re.findall(r"^Generator: (\S+) (\S+)$", about, re.MULTILINE)[0]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": {"sha256": _sha256(path)}} for path in built],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://peps.python.org/pep-0517/",
                "externalParameters": {"command": "python -m build"},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit}},
                    {"uri": f"pkg:pypi/{name}@{version}"},
                    {"uri": f"pkg:generic/python@{platform.python_version()}"},
                ],
            },
            "runDetails": {"builder": {"id": "urn:portable-nn:.ci/run"}},
        },
    }
    path = wheel.with_suffix(".provenance.json")
    path.write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    {"version": set_version, "provenance": write_provenance}[sys.argv[1]](*sys.argv[2:])
