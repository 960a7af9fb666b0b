"""Row 61 of the list of hostile files: a process that dies while it writes, and a disk that is full.

``killing`` finds the places to die at by stopping a child at each of its calls.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forge import Forge
from rows import CARRIERS

from portable_nn.format import load, save

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

HERE = Path(__file__).parent
QUICK = [("saved", ".npz"), ("saved", ".h5"), ("mapped", ".safetensors")]
RARE = [("threaded", ".h5"), ("made", ".safetensors"), ("claimed", ".npz"), ("linked", ".h5")]
RARE += [("predicted", ".safetensors")]
SCENARIOS = [
    pytest.param(*scenario, marks=[] if scenario in QUICK else pytest.mark.long)
    for scenario in [*itertools.product(["saved", "mapped"], CARRIERS), *RARE]
]


def killed(folder: Path, scenario: str, suffix: str) -> dict[str, Any]:
    """What the program says of a scenario."""
    folder.mkdir()
    command = [sys.executable, "-B", str(HERE / "killing.py"), scenario, str(folder), suffix]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "suffix"), SCENARIOS)
def test_61_a_killed_save_leaves_the_old_file_or_the_new_one(tmp_path: Path, scenario: str, suffix: str) -> None:
    found = killed(tmp_path / "folder", scenario, suffix)
    for means in ("at_a_system_call", "at_a_call_of_python", "at_a_size"):
        states = found[means]
        if states is None:
            pytest.skip(f"this system does not let a process trace its child: {means}")
        old, new = found["before"]["content"], states[-1]["content"]
        assert old != new
        assert {state["content"] for state in states} == {old, new}, means
        assert {state["mode"] for state in states} == {found["before"]["mode"]}
        # Some deaths were in the middle of a save; predict keeps what is written and its journal, to go on with.
        assert max(state["orphans"] for state in states) in ({1, 2, 3} if scenario == "predicted" else {1})
        assert {state["left"] for state in states} == {0}
        assert len(states) > 5
    if scenario == "linked":
        assert [path.is_symlink() for path in (tmp_path / "elsewhere").iterdir()] == [True]
    if scenario == "saved":
        assert bytes.fromhex(found["at_a_size"][-1]["content"]) == CARRIERS[suffix](Forge())


FULL = """
import os, resource, sys
from pathlib import Path
from portable_nn.core.errors import FileError
from portable_nn.format import load, save

folder, new, means = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
contents, path = load(new), folder / f"net{new.suffix}"
path.write_bytes(Path(sys.argv[4]).read_bytes())
old, mapped = path.read_bytes(), load(path, lazy=True)
expected = {array.tobytes() for array in mapped.tensors.values()}
seen = []

def room(size):
    # Leave so many bytes for the new file.
    if means == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return
    filler = folder / "filler"
    with filler.open("wb") as file:
        status = os.statvfs(folder)
        file.write(bytes(status.f_bavail * status.f_frsize - size))

for size in range(0, new.stat().st_size + 2 * int(sys.argv[5]), int(sys.argv[5])):
    room(size)
    try:
        save(path, contents.manifest, contents.tensors)
    except FileError as error:
        seen.append(str(error))
        assert path.read_bytes() == old
    else:
        seen.append("saved")
        assert path.read_bytes() == new.read_bytes()
        break
    finally:
        (folder / "filler").unlink(missing_ok=True)
    assert list(folder.iterdir()) == [path]
    assert {array.tobytes() for array in load(path, lazy=True).tensors.values()} == expected
assert {array.tobytes() for array in mapped.tensors.values()} == expected
print(*seen, sep="\\n")
"""


def on_full_disk(tmp_path: Path, suffix: str, means: str, step: int, before: list[str]) -> tuple[Path, list[str]]:
    """What each save says for which there is a little more room than for the one before."""
    folder, new, old = tmp_path / "folder", tmp_path / f"new{suffix}", tmp_path / f"old{suffix}"
    folder.mkdir()
    new.write_bytes(CARRIERS[suffix](Forge().give("w", "uint8", [40_000], b"new " * 10_000)))
    old.write_bytes(CARRIERS[suffix](Forge().give("w", "uint8", [20_000], b"old " * 5_000)))
    command = [*before, sys.executable, "-B", "-c", FULL, str(folder), str(new), means, str(old), str(step)]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    if result.returncode == 77:
        pytest.skip(f"this system does not let us mount a file system: {result.stderr.strip()}")
    assert result.stderr == ""
    return folder / f"net{suffix}", result.stdout.splitlines()


@pytest.mark.long
@pytest.mark.parametrize("suffix", CARRIERS)
def test_61_a_file_that_may_not_get_so_large(tmp_path: Path, suffix: str) -> None:
    path, lines = on_full_disk(tmp_path, suffix, "limit", 997, [])
    assert set(lines[:-1]) == {f"{path}: cannot be written: File too large"}
    assert len(lines) > 40
    assert lines[-1] == "saved"


MOUNTED = 'mount -t tmpfs -o size=256k none "$0" || exit 77; exec "$@"'


@pytest.mark.long
@pytest.mark.parametrize("suffix", CARRIERS)
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs of Linux")
def test_61_a_full_disk(tmp_path: Path, suffix: str) -> None:
    """A small file system of its own, in a name space of its own: nobody else sees it, and it ends with the process."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNTED, str(tmp_path / "folder")]
    path, lines = on_full_disk(tmp_path, suffix, "disk", 4096, mount)
    assert set(lines[:-1]) == {f"{path}: cannot be written: No space left on device"}
    assert len(lines) > 5
    assert lines[-1] == "saved"


@pytest.mark.parametrize("suffix", CARRIERS)
def test_61_a_file_may_be_saved_over_while_its_tensors_are_in_use(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(CARRIERS[suffix](Forge()))
    for before in (load(path), load(path, lazy=True)):
        changed = {name: array + 1 for name, array in before.tensors.items()}
        save(path, before.manifest, changed)
        assert load(path).tensors["b.bias"].tolist() == (before.tensors["b.bias"] + 1).tolist()
        assert re.fullmatch(r"net\.\w+", ",".join(entry.name for entry in tmp_path.iterdir()))
