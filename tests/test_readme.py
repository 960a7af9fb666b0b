"""What the README shows works as it is shown."""

from __future__ import annotations

import json
import re
import warnings
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from PIL import Image

from portable_nn.catalog import SHIPPED, find_model
from portable_nn.cli import COMMANDS, main
from portable_nn.core.text import percent, size
from portable_nn.opening import load_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs/commands/models.md").read_text(encoding="utf-8")
TABLE = (ROOT / "docs/commands/index.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


@pytest.mark.long
def test_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [first] = blocks("python")
    exec(compile(first, "README.md", "exec"), names)
    assert capsys.readouterr().out == "True\nTrue (4, 2)\n"
    for block in blocks("python", TRAINING):
        exec(compile(block, "training.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "True",
        "(4, 2)",
        "(32, 2)",
        "True",
        "no",
        "yes",
        "True",
        "500.0",
        "light",
        "True True",
        "(4, 2)",
        "(2000, 2)",
        "True",
        "[(1, 2), (3, 2), (1996, 2)]",
        "['no', 'yes']",
        "True",
        "(2, 2)",
        "(3,)",
        "(5, 10) (5, 1)",
        "True",
        "swish_1.beta",
        "(2, 3, 64, 64)",
        "(2,) (4,)",
        "kernel 2 → 3: output 2 as now",
        "(Window(kernel=3, stride=2, dilation=1, pad_begin=1, pad_end=1, output_padding=0),)",
    ]
    with names["ThreadingHTTPServer"](("localhost", 0), names["Handler"]) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        too_large, too_deep = b"[[1%b, 2]]" % (b"0" * 400), b"[" * 10**5
        for sent in (b"[[1, 2, 3]]", b'["/etc/hostname"]', b'{"path": 1}', b"no JSON", too_large, too_deep):
            with pytest.raises(HTTPError) as refused:
                urlopen(f"http://localhost:{server.server_port}", sent)
            with refused.value as answer:
                assert (answer.code, list(json.load(answer))) == (400, ["error"])
        server.shutdown()


def test_the_first_command_labels_every_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [command] = [line for line in blocks("console")[0].splitlines() if "predict" in line]
    words = command.split("portable-nn ", 1)[1].split()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["portable-nn", *words])
    assert not main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(Path(row[0]).stem, row[1]) for row in rows] == [(f"digit-{digit}", str(digit)) for digit in range(10)]


def test_the_figures_of_the_models() -> None:
    shown = re.findall(r"^\| `([\w-]+)`.* \| (\d+\.\d %) \| .* \| (\d+ kB) \|$", MODELS, re.MULTILINE)
    rows = [(model.name, load_model(model.name), model.weights) for model in SHIPPED.values()]
    rows = [row for row in rows if "test_accuracy" in row[1].metadata]  # A generator has no accuracy.
    found = [(name, float(net.metadata["test_accuracy"].split()[0]), path.stat().st_size) for name, net, path in rows]
    assert shown == [(name, percent(accuracy), size(length)) for name, accuracy, length in found]


def test_every_command_and_option_of_the_table_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^\| `portable-nn ((\w+)( (?:conv|net|run|list)\b)?.*)$", TABLE, re.MULTILINE)
    assert {name for _, name, _ in shown} == set(COMMANDS)
    for row, name, verb in shown:
        assert not main([name, *verb.split(), "--help-all"])
        known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        assert set(re.findall(r"--[\w-]+", row)) <= known, name


@pytest.mark.long
@pytest.mark.parametrize("place", range(3), ids=["theirs", "damaged", "size"])
def test_a_command_prints_what_is_shown(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (_theirs, _damaged, partial(pytest.importorskip, "matplotlib"))[place]()
    capsys.readouterr()
    line, shown = blocks("text")[place].split("\n", 1)
    assert bool(main(line.split()[2:])) == shown.startswith("error")
    printed = "".join(capsys.readouterr()) if shown.startswith("error") else capsys.readouterr().out
    parts = ROUNDED.sub("…", shown).split("…")
    assert re.fullmatch(".*?".join(map(re.escape, parts)), printed, re.DOTALL)
    if line.endswith(".gif"):
        [drawn] = tmp_path.glob("*.gif")
        with Image.open(drawn) as found, Image.open(ROOT / "docs/pictures" / drawn.name) as expected:
            assert (found.size, found.n_frames) == (expected.size, expected.n_frames)


ROUNDED = re.compile(r"\d\.\de-\d\d|(?<=, at )'.*$", re.MULTILINE)
"""What rounding makes different on another machine."""


def _theirs() -> None:
    """A network of PyTorch, as PyTorch writes it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    convolutions = [
        (torch.nn.Conv2d(*c, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2)) for c in ((1, 16), (16, 32))
    ]
    dense = torch.nn.Linear(32 * 7 * 7, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
    module = torch.nn.Sequential(*chain(*convolutions), torch.nn.Flatten(), *dense).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(1, 1, 28, 28),), "theirs.onnx", dynamic_shapes=({0: "n"},), external_data=False
        )


def _damaged() -> None:
    """A file in which one bit was flipped, in the tensor ``digit.bias``."""
    data = bytearray(find_model("digits").weights.read_bytes())
    length = int.from_bytes(data[:8], "little")
    begin, _ = json.loads(data[8 : 8 + length])["digit.bias"]["data_offsets"]
    data[8 + length + begin + 39] ^= 1
    Path("damaged.safetensors").write_bytes(data)
