from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portable_nn.core.atomic import (
    all_or_none,
    atomic_folder,
    atomic_write,
    must_be_new,
    remove,
    replacing_nothing,
    reserve,
)
from portable_nn.core.errors import FileError, TakenError

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
        from portable_nn.core.atomic import atomic_write
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
    command = [sys.executable, "-B", "-c", textwrap.dedent(script)]
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


# What must be new


def without_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system has hard links: FAT and some shares have none."""
    if not request.param:
        monkeypatch.setattr(os, "link", without_links)
        monkeypatch.setattr(Path, "hardlink_to", without_links)
    return bool(request.param)


@pytest.mark.usefixtures("links")
def test_a_file_that_must_be_new_is_made_and_then_is_the_commands_own(tmp_path: Path) -> None:
    path = tmp_path / "net"
    with replacing_nothing():
        must_be_new(path)
        write(path)
        assert path.read_bytes() == b"new"
        write(path, b"again")
    assert path.read_bytes() == b"again"
    assert names(tmp_path) == ["net"]


def write_new(path: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    with replacing_nothing():
        must_be_new(path)
        with atomic_write(path) as file:
            file.write(b"ours")
            meanwhile()


def refused(work: Callable[[], object], told: str) -> Path | None:
    """What is kept where something else is there in the end."""
    with pytest.raises(TakenError, match=told) as caught:
        work()
    return caught.value.kept


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"theirs"), lambda path: path.mkdir(), lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("nothing"),
    ],
    ids=["a file", "a folder", "a FIFO", "a link"],
)  # fmt: skip
def test_what_appears_at_the_last_moment_is_not_replaced(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "net.npz"
    for name in ("net-2.npz", "net-3.npz"):
        told = rf"net.npz: exists by now, .* is not replaced: what was made is in .*/{name}$"
        kept = refused(lambda: write_new(path, lambda: make(path)), told)
        assert kept == tmp_path / name
        assert kept.read_bytes() == b"ours"
        assert stat.S_ISREG(path.lstat().st_mode) == (path.is_file() and path.read_bytes() == b"theirs")
        path.rmdir() if path.is_dir() else path.unlink()
    assert names(tmp_path) == ["net-2.npz", "net-3.npz"]


def test_a_link_to_nothing_yet_leads_to_a_file_that_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/net")
    monkeypatch.chdir(tmp_path)
    with replacing_nothing():
        must_be_new("link")
        write(Path("link"))
    refused(lambda: write_new(Path("link")), "^link: exists by now")
    assert (tmp_path / "folder/net").read_bytes() == b"new"
    assert (tmp_path / "folder/net-2").read_bytes() == b"ours"


def test_a_name_that_is_taken_is_told_as_the_user_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.h5").write_bytes(b"theirs")
    refused(lambda: write_new(Path("net.h5")), r"^net.h5: .*: what was made is in net-2.h5$")


def test_of_many_that_make_one_file_at_once_one_does(tmp_path: Path) -> None:
    path, told = tmp_path / "net", list[TakenError]()
    begin = threading.Barrier(8)

    def save(number: int) -> None:
        with replacing_nothing():
            must_be_new(path)
            begin.wait()
            try:
                write(path, str(number).encode())
            except TakenError as error:
                told.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(told) == 7
    assert len({error.kept for error in told}) == 7
    assert sorted(each.read_text() for each in tmp_path.iterdir()) == [str(number) for number in range(8)]


def test_a_full_disk_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links, the name is taken first."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", without_links)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FileError, match="No space left on device"):
        write_new(tmp_path / "net")
    assert names(tmp_path) == []


def test_a_link_whose_success_was_lost_on_the_way_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of NFS that gets a request twice says that the file exists."""
    real = os.link

    def twice(made: Path, target: Path) -> None:
        real(made, target)
        real(made, target)

    monkeypatch.setattr(os, "link", twice)
    write_new(tmp_path / "net")
    assert names(tmp_path) == ["net"]


def test_a_file_that_grows_is_reserved(path: Path) -> None:
    with replacing_nothing():
        reserve(path)  # It was not said that it must be new.
        must_be_new(path)
        refused(lambda: reserve(path), r"nothing was written$")
        must_be_new(path.with_name("new"))
        reserve(path.with_name("new"))
        write(path.with_name("new"))
    assert path.read_bytes() == b"old"
    assert path.with_name("new").read_bytes() == b"new"


# Folders


def make_folder(path: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    with atomic_folder(path) as folder:
        (folder / "part").write_bytes(b"ours")
        meanwhile()


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"theirs"), Path.mkdir], ids=["a file", "a folder"])
def test_a_folder_never_takes_the_place_of_anything(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "out.zarr"
    make_folder(path)
    assert names(path) == ["part"]
    refused(lambda: make_folder(path), r"out.zarr: .* what was made is in .*/out-2.zarr$")
    other = tmp_path / "other.zarr"  # Not even that of an empty folder.
    refused(lambda: make_folder(other, lambda: make(other)), r"other.zarr: .* what was made is in .*/other-2.zarr$")
    assert names(tmp_path) == ["other-2.zarr", "other.zarr", "out-2.zarr", "out.zarr"]
    assert other.is_file() or names(other) == []


def test_where_no_folder_replaces_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def rename(made: Path, target: Path) -> Path:
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        return real(made, target)

    monkeypatch.setattr(Path, "rename", rename)
    make_folder(tmp_path / "out")
    assert names(tmp_path / "out") == ["part"]


def test_a_folder_that_is_being_made_is_no_orphan(tmp_path: Path) -> None:
    (tmp_path / ".out.0123abcd.pnn-tmp").mkdir()
    (tmp_path / ".out.0123abcd.pnn-tmp/part").write_bytes(b"of a process that was killed")
    refused(lambda: make_folder(tmp_path / "out", lambda: make_folder(tmp_path / "out")), "what was made is in")
    assert names(tmp_path) == ["out", "out-2"]
    assert names(tmp_path / "out-2") == ["part"]


# Several files


def fail(*paths: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    def work() -> None:
        with all_or_none():
            for path in paths:
                write(path)
            meanwhile()
            raise KeyError

    with pytest.raises(KeyError):
        work()


@pytest.mark.usefixtures("links")
def test_what_was_there_is_put_back_after_an_error(path: Path) -> None:
    gone = path.with_name("gone")
    gone.write_bytes(b"removed")
    fail(path, path.with_name("new"), path, meanwhile=lambda: remove(gone))
    assert path.read_bytes() == b"old"
    assert gone.read_bytes() == b"removed"
    assert names(path.parent) == ["gone", "net"]
    with all_or_none():
        write(path)
        remove(gone)
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["net"]


@pytest.mark.usefixtures("links")
def test_a_set_within_another_is_undone_with_that(path: Path) -> None:
    def inner() -> None:
        with all_or_none():
            write(path.with_name("inner"))
            write(path, b"newer")

    fail(path, meanwhile=inner)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]


@pytest.mark.usefixtures("links")
def test_what_another_program_has_written_since_is_not_undone(path: Path) -> None:
    new, gone, theirs = path.with_name("new"), path.with_name("gone"), path.with_name("theirs")
    gone.write_bytes(b"removed")

    def meanwhile() -> None:
        remove(gone)
        gone.write_bytes(b"theirs")
        for each in (path, new):
            theirs.write_bytes(b"theirs")
            theirs.rename(each)

    fail(path, new, meanwhile=meanwhile)
    assert {each.read_bytes() for each in (path, new, gone)} == {b"theirs"}
    assert names(path.parent) == ["gone", "net", "new"]


@pytest.mark.usefixtures("links")
def test_of_several_files_nothing_is_kept_where_one_is_taken(path: Path) -> None:
    def work() -> None:
        with all_or_none():
            write_new(path.with_name("first"))
            write_new(path)

    refused(work, r"net: .* and is not replaced: nothing was written$")
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["net"]


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["folder", "FIFO"])
def test_what_nobody_could_write_over_is_not_removed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "net")
    with pytest.raises(FileError, match="not a regular file"), all_or_none():
        write(tmp_path / "net")
    assert names(tmp_path) == ["net"]


# The space of the old file


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
