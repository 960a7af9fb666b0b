from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portable_nn.core.atomic import atomic_write, put_back
from portable_nn.core.errors import FileError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and signals of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "net").write_bytes(b"old")
    return tmp_path / "net"


def write(path: Path, data: bytes = b"new") -> None:
    with atomic_write(path) as file:
        file.write(data)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_old_file_stays_until_the_block_ends(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["net"]


def write_and_fail(path: Path, error: BaseException) -> None:
    with atomic_write(path) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), FileError("f", "no"), OSError()])
def test_an_exception_leaves_the_old_file_and_nothing_else(path: Path, error: BaseException) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt, FileError)):
        write_and_fail(path, error)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_a_file_error(path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync", full) if call == "fsync" else (Path, "replace", full)))
    with pytest.raises(FileError, match=r"/net: cannot be written: No space left on device$"):
        write(path)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]


def test_a_file_over_the_limit_of_the_system_is_a_file_error(path: Path) -> None:
    script = f"""
        import resource
        from portable_nn.core.errors import FileError
        from portable_nn.core.atomic import atomic_write, put_back
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            with atomic_write({str(path)!r}) as file:
                file.write(bytes(101))
        except FileError as error:
            print(error)
    """
    assert run(script) == f"{path}: cannot be written: File too large\n"
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]


def run(script: str) -> str:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/a/b/net: cannot be written: there is no folder '.*/a/b'$"):
        write(tmp_path / "a/b/net")


def test_a_file_in_place_of_the_folder_is_named(path: Path) -> None:
    with pytest.raises(FileError, match=r"/net/more: cannot be written: there is no folder '.*/net'$"):
        write(path / "more")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r": is a folder, not a regular file$"):
        write(tmp_path)


def test_a_fifo_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match=r"/pipe: is a FIFO, not a regular file$"):
        write(tmp_path / "pipe")


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(FileError, match=r"^/dev/null: is a device, not a regular file$"):
        write(Path("/dev/null"))


def test_a_link_to_itself_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match=r"/loop: is a symbolic link to itself, not a regular file$"):
        write(tmp_path / "loop")


def test_a_read_only_file_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the mode alone does not stop root, who may run this
    with pytest.raises(FileError, match=r"/net: is read-only$"):
        write(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_of_a_new_file_follows_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "net")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "net").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_mode_of_an_existing_file_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_symbolic_link_is_followed(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("elsewhere") / "link"
    link.symlink_to(path)
    write(link)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert names(link.parent) == ["link"]


def test_a_dangling_link_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_file_that_is_mapped_or_open_keeps_its_bytes(path: Path) -> None:
    with path.open("rb") as reader:
        write(path)
        assert reader.read() == b"old"


def test_orphans_of_killed_saves_are_removed_and_nothing_else(path: Path) -> None:
    kept = [".net.0123abc.pnn-tmp", ".net.0123abcd.tmp", ".other.0123abcd.pnn-tmp", "net.0123abcd.pnn-tmp"]
    for name in [*kept, ".net.0123abcd.pnn-tmp", ".net.ffffffff.pnn-tmp"]:
        (path.parent / name).write_bytes(b"orphan")
    write(path)
    assert names(path.parent) == sorted([*kept, "net"])


def test_a_save_does_not_remove_the_file_of_another_that_is_running(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"slow")
        write(path, b"fast")
        assert path.read_bytes() == b"fast"
    assert path.read_bytes() == b"slow"
    assert names(path.parent) == ["net"]


def test_a_file_taken_for_an_orphan_before_it_was_locked_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def lock(file: object) -> None:
        if not taken:
            (temporary,) = path.parent.glob(".net.*")
            temporary.unlink()
            taken.append(temporary)

    monkeypatch.setattr("portable_nn.core.atomic._lock", lock)
    write(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("linked", [True, False])
def test_what_was_there_is_put_back_after_an_error(path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> None:
        raise OSError("this file system has no links")

    if not linked:
        monkeypatch.setattr(Path, "hardlink_to", refused)

    def fail() -> None:
        with put_back(path), put_back(path.with_name("new")):
            write(path)
            write(path.with_name("new"))
            write(path)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]
    with put_back(path):
        write(path)
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["net"]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["folder", "FIFO"])
def test_what_nobody_could_write_over_is_not_removed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "net")

    def fail() -> None:
        with put_back(tmp_path / "net"):
            write(tmp_path / "net")

    with pytest.raises(FileError, match="not a regular file"):
        fail()
    assert names(tmp_path) == ["net"]


def test_where_no_thread_can_begin_the_space_is_given_back_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("portable_nn.core.atomic.Thread.start", refused)
    write(path)
    assert path.read_bytes() == b"new"


def test_the_space_of_the_old_file_is_given_back(path: Path) -> None:
    opened = Path("/proc/self/fd")
    if not opened.exists():
        pytest.skip("this system does not tell which files are open")
    before = len(list(opened.iterdir()))
    for _ in range(50):
        write(path)
    deadline = time.monotonic() + 10
    while len(list(opened.iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(opened.iterdir())) <= before
