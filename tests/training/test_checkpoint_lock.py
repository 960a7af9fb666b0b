"""One training at a time in a folder of checkpoints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from trainings import MSE, TRAININGS, TRAP, Stopped, Training, X, Y, dense

from portable_nn.core.errors import FileError, UsageError
from portable_nn.core.exclusive import NAME, exclusive

TRAINING = Training(dense, X, Y, MSE)

HOLDER = """
import os, sys
from pathlib import Path
from portable_nn.core.exclusive import exclusive
with exclusive(Path("run"), "training"):
    child = os.fork() if "fork" in sys.argv else None
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    if child:
        os.kill(os.getpid(), 9)
    sys.stdin.read()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    TRAP.set(0, "error")


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def holder(*arguments: str) -> subprocess.Popen[str]:
    """Another process that holds the folder until its standard input is closed."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_training_is_refused() -> None:
    with holder() as process:
        with pytest.raises(UsageError) as refused:
            TRAINING.run(checkpoint="run")
        assert f"run is in use by the training of process {process.pid} on " in str(refused.value)
        assert names("run") == [NAME]
        process.communicate("")
    assert not Path("run").exists()  # It had made the folder, and put nothing into it.
    TRAINING.run(checkpoint="run")
    assert NAME not in names("run")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_dead_process_holds_nothing() -> None:
    with holder() as process:
        process.send_signal(signal.SIGKILL)
    assert json.loads(Path("run", NAME).read_text())["process"] == process.pid
    TRAINING.run(checkpoint="run")
    assert NAME not in names("run")


@needs_fork
def test_a_forked_process_holds_nothing() -> None:
    """The child lives on with everything that its parent had open."""
    with holder("fork") as process:
        process.wait()
        TRAINING.run(checkpoint="run")
        process.communicate("")


def test_a_second_training_in_the_same_process_is_refused() -> None:
    """The system's locks are between processes; a thread asks through another name of the folder."""
    found: list[Exception] = []

    def train() -> None:
        try:
            TRAINING.run(checkpoint=Path("..", Path.cwd().name, "run"))
        except UsageError as error:
            found.append(error)

    with exclusive(Path("run"), "training"):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        with holderless():
            pass
    assert "is in use by another training of this process: wait until" in str(found[0])
    TRAINING.run(checkpoint="run")


def holderless() -> subprocess.Popen[str]:
    """Another process, which is still refused after the thread of this one was."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    _, error = process.communicate()
    assert f"in use by the training of process {os.getpid()} on" in error
    return process


@pytest.mark.parametrize("how", ["error", "ctrl-c"])
def test_a_training_that_is_stopped_lets_go(how: str) -> None:
    training = TRAININGS["everything"]
    TRAP.set(2, how)
    with suppress(Stopped):
        training.run(checkpoint="run")
    assert len(names("run")) > 0
    assert NAME not in names("run")
    TRAP.set(0, "error")
    training.run(checkpoint="run", resume=True)


def test_what_was_in_the_folder_stays() -> None:
    """An empty folder of the user's, too; and resuming makes none."""
    Path("mine").mkdir()
    with exclusive(Path("mine"), "training"):
        pass
    assert names("mine") == []
    with pytest.raises(FileError, match="holds no checkpoint"):
        TRAINING.run(checkpoint="none", resume=True)
    assert not Path("none").exists()
