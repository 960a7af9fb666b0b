"""Whatever happens to a run in several processes, it ends with the bytes that one process writes."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from portable_nn.cli.conventions import INTERRUPTED

pytest.importorskip("distributed", reason="several processes are those of Dask")
pytest.importorskip("zarr", reason="some runs read and write zarr")
pytest.importorskip("pyarrow", reason="some runs read and write Parquet")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")

from random_runs import Event, RandomRun, content  # noqa: E402
from test_bucket import bucket  # noqa: E402, F401
from test_killed import disk  # noqa: E402, F401


def complaint(text: str) -> str:
    """The error in what a command has printed."""
    return text[text.index("error:") :] if "error:" in text else ""


def go_through(place: Path, aside: Path, seed: int) -> None:
    """A run to which something happens, and then to the end."""
    aside.mkdir()
    run = RandomRun(place, aside, seed, "s3://results")
    out, wanted = place / f"answers{run.suffix}", place / f"serial{run.suffix}"
    for event in run.events:
        code, log = run.run(out, event)
        assert code in (0, 3, INTERRUPTED, -signal.SIGKILL, -signal.SIGTERM), (str(run), log)
        assert "Traceback" not in log, str(run)
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    found = run.run(out, Event("nothing"))
    code, log = run.serial(wanted)
    assert (found[0], complaint(found[1])) == (code, complaint(log)), str(run)
    assert content(out) == content(wanted), str(run)


@pytest.mark.long
@pytest.mark.usefixtures("bucket")
def test_a_random_run_that_is_killed(tmp_path: Path, disk: Path) -> None:  # noqa: F811
    go_through(disk, tmp_path / "aside", 3201)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3000, 3200))
@pytest.mark.usefixtures("bucket")
def test_a_random_run_ends_as_one_process_does(tmp_path: Path, disk: Path, seed: int) -> None:  # noqa: F811
    go_through(disk, tmp_path / "aside", seed)
