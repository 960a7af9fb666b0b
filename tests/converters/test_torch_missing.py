"""Without PyTorch: what can be done is done, and what cannot names the package and how to install it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn

WITHOUT = "import sys; sys.modules.update(torch=None, safetensors=None); from portable_nn.cli import main; "


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"{WITHOUT}sys.exit(main({list(words)!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_source_names_what_it_needs(tmp_path: Path) -> None:
    done = run(tmp_path, "export", "digits-mlp", "net.py", "--code", "torch")
    assert (done.returncode, list(tmp_path.iterdir())) == (4, [])
    assert done.stderr.startswith(
        "error: writing a PyTorch module needs the package 'torch': pip install 'portable-nn[torch]'"
    )


@pytest.mark.long
def test_a_state_dict_is_read_and_not_compared(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch writes the state dict")
    network = pnn.load_model("digits-mlp")
    torch.save({name: torch.tensor(array) for name, array in network.parameters.items()}, tmp_path / "a.pt")
    done = run(tmp_path, "import", "a.pt", "a.safetensors", "--against", "digits-mlp")
    assert done.returncode == 0, done.stderr
    assert "PyTorch is not installed, so nothing was compared" in done.stderr
    again = run(tmp_path, "import", "a.pt", "b.safetensors", "--against", "digits-mlp", "--format", "json")
    assert json.loads(again.stdout)["verified"] is False
    found = pnn.load(tmp_path / "a.safetensors")
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array)
