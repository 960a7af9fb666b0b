"""Ctrl-C at any moment in the life of a command: it ends quietly."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")

PROGRAM = """
import atexit, os, runpy, signal, sys

place = sys.argv.pop(1)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finalized:
    def __del__(self):
        interrupt()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            sys.meta_path.remove(self)
            interrupt()
        elif place == "a finalizer" and name == "portable_nn.opening.carried":
            Finalized()

sys.meta_path.insert(0, Finder())
if place == "the end":
    atexit.register(interrupt)
runpy.run_module("portable_nn", run_name="__main__", alter_sys=True)
"""
"""``python -m portable_nn`` that gets a SIGINT at a place: where it imports a module, or another."""

ENDED_BY_THE_SYSTEM = -signal.SIGINT
INTERRUPTED = 130


def run(place: str, *before: str) -> tuple[int, str, str]:
    command = [*before, sys.executable, "-c", PROGRAM, place, "inspect", "digits-mlp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("portable_nn.cli", ENDED_BY_THE_SYSTEM),
        ("typer", ENDED_BY_THE_SYSTEM),
        ("portable_nn.cli.conventions", INTERRUPTED),
        ("numpy", INTERRUPTED),
        ("a finalizer", INTERRUPTED),
    ],
)
def test_nothing_but_the_end(place: str, code: int) -> None:
    found, out, err = run(place)
    assert (found, out, err.strip()) == (code, "", "")


@pytest.mark.long
def test_after_the_result() -> None:
    code, out, err = run("the end")
    assert (code, err) == (ENDED_BY_THE_SYSTEM, "")
    assert out.startswith("name        digits-mlp\n")


@pytest.mark.long
def test_where_the_shell_has_it_ignored() -> None:
    """As for a command in the background of a script."""
    code, out, err = run("typer", "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    assert (code, err) == (0, "")
    assert out.startswith("name        digits-mlp\n")
