"""``portable-nn completion``: what shells are offered, and the scripts in the shells that are installed."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli_main import HEAVY, PATHS

from portable_nn.catalog import CALLED
from portable_nn.cli import COMMANDS, _command, completing, module_of
from portable_nn.cli.completing import FILES
from portable_nn.core.names import LOSSES


def offered(line: str) -> list[str]:
    """The words, and ``FILES``, for a line whose last word is being written."""
    *before, current = line.split(" ")
    return [each if isinstance(each, str) else each.word for each in completing.candidates(before, current, module_of)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", [*COMMANDS, "help"]),
        ("sim", ["simulate"]),
        ("he", ["help"]),
        ("--v", ["--version"]),
        ("help size po", ["pool"]),
        ("help help", []),
        ("size ", ["conv", "convt", "pool", "net"]),
        ("predict ", [*CALLED, FILES]),
        ("predict digits-m", ["digits-mlp", FILES]),
        ("predict digits x.png y", [FILES]),
        ("predict digits --top ", []),
        ("predict digits --labels ", [FILES]),
        ("predict digits --format js", ["json", "jsonl"]),
        ("predict digits --format=csv", ["--format=csv"]),
        ("predict digits --out=x", [FILES]),
        ("predict --engine numpy --eng", []),
        ("predict digits --engine ", ["numpy", "onnxruntime"]),
        ("inspect digits x.png", []),
        ("train 784-10 x.csv --loss h", [name for name in LOSSES if name.startswith("h")]),
        ("predict x --quiet --form", ["--format"]),
        ("nonsense ", []),
        ("simulate run --game dirac-g", ["dirac-gan"]),
        ("models show digits-g", ["digits-gan", FILES]),
    ],
)
def test_what_is_offered(line, words):
    assert sorted(offered(line)) == sorted(words)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_option_is_offered_as_the_parser_has_it(path):
    names = {
        name
        for parameter in _command(*path).params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }
    assert set(offered(" ".join([*path, "--"]))) == names | {"--help"}


def test_columns_of_the_table_on_the_line(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffGröße;price in €;price;\n1;2;3;4\nno table at all", encoding="utf-8")
    assert offered(f"train auto-8-auto {tmp_path}/t.csv --target ") == ["first", "last", "Größe", "price in €", "price"]
    assert offered(f"train auto-8-auto {tmp_path}/t.csv --target=pr") == ["--target=price in €", "--target=price"]
    assert offered(f"train auto-8-auto {tmp_path}/none.csv --target ") == ["first", "last"]
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00bad,\x00")
    assert offered(f"train auto-8-auto {tmp_path}/t.csv --target ") == ["first", "last"]


def test_nodes_of_the_model_on_the_line(tmp_path):
    assert offered("tune digits-mlp data --until ")[0] == "-1"
    assert "shapes" in offered("tune digits-cnn data --until ")
    assert offered("tune digits-cnn data --until sha") == ["shapes"]
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert offered(f"tune {tmp_path}/bad.onnx data --until ") == ["-1"]


def test_words_with_blanks_are_escaped_for_bash(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("price in €,x\n")
    completing.answer("bash", ["train", "a", f"{tmp_path}/t.csv", "--target", "pr"], module_of)
    assert capsys.readouterr().out == "price\\ in\\ \\€\n"


def test_bash_takes_words_apart_at_equal_signs(capsys):
    completing.answer("bash", ["predict", "digits", "--format", "=", "js"], module_of)
    assert capsys.readouterr().out.split() == ["json", "jsonl"]
    completing.answer("bash", ["predict", "digits", "--format", "="], module_of)
    assert capsys.readouterr().out.split() == ["table", "json", "jsonl", "csv"]


def test_colons_are_escaped_for_zsh_and_meanings_follow(capsys):
    completing.answer("zsh", ["size", "conv", "--padd"], module_of)
    word, meaning = capsys.readouterr().out.strip().split(":", 1)
    assert word == "--padding"
    assert ":" not in meaning.replace("\\:", "")


def test_nothing_is_printed_where_something_fails(monkeypatch, capsys):
    monkeypatch.setattr(completing, "candidates", lambda *given: 1 / 0)
    for shell in ("bash", "csh"):
        monkeypatch.setenv(completing.VARIABLE, shell)
        assert completing.main(["pre"], module_of) == 1
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.long
def test_completion_imports_nothing_heavy():
    lines = [["predict", "digits", "--"], ["train", "--loss", ""], [""], ["size", "conv", "--"]]
    calls = "; ".join(f"completing.answer('bash', {line!r}, module_of)" for line in lines)
    code = (
        f"import sys; from portable_nn.cli import completing, module_of; {calls}; print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_install_adds_one_line_once(run, home, shell):
    start = home / f".{shell}rc"
    start.write_text("alias x=y")
    script = home / f".local/share/portable-nn/completion.{shell}"
    for _ in range(2):
        assert run("completion", shell, "--install").code == 0
        assert start.read_text() == f"alias x=y\nsource {script}\n"
    assert script.read_text() == run("completion", shell).out


def test_install_for_fish(run, home, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    found = run("completion", "--install", "--format", "json").json
    assert found["files"] == [str(home / ".config/fish/completions/portable-nn.fish")]
    assert Path(found["files"][0]).read_text() == found["script"]


def test_an_unknown_shell(run, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert run("completion") == (2, "", "error: which shell? $SHELL is 'csh': name it, bash, zsh, fish\n")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """``portable-nn`` on the path, and a folder with files."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "portable-nn").write_text(f"#!/bin/sh\nexec '{sys.executable}' -m portable_nn \"$@\"\n")
    (folder / "portable-nn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin", prepend=":")
    (tmp_path / "digital picture.png").touch()
    return tmp_path


@pytest.mark.long
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_bash(run, program):
    (program / "script").write_text(run("completion", "bash").out)
    test = inspect.cleandoc("""
        source ./script
        try() {
            COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
            _portable_nn 2>/dev/null; printf '%s|' "${COMPREPLY[@]}"; echo
        }
        try portable-nn pre
        try portable-nn predict digi
        try portable-nn predict digits --format = js
        try portable-nn predict digits --top ''
    """)
    done = subprocess.run(["bash", "-c", test], cwd=program, capture_output=True, text=True, check=True)
    assert [line.split("|")[:-1] for line in done.stdout.splitlines()] == [
        ["predict"],
        [*(name for name in CALLED if name.startswith("digi")), "digital picture.png"],
        ["json", "jsonl"],
        [""],
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_in_fish(run, program):
    (program / "script").write_text(run("completion", "fish").out)
    line = "source ./script; complete -C 'portable-nn predict digits --format j'"
    done = subprocess.run(["fish", "-N", "-c", line], cwd=program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["json", "jsonl"]


@pytest.mark.long
@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_reads_its_script(run, program):
    (program / "script").write_text(run("completion", "zsh").out)
    line = "autoload -Uz compinit; compinit -u -D; source ./script; print ${_comps[portable-nn]}"
    done = subprocess.run(["zsh", "-f", "-c", line], cwd=program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["_portable_nn"]


def test_modules_of_all_commands_are_completed():
    assert all(offered(f"{' '.join(path)} --") for path in PATHS)
    assert module_of("completion").SCRIPTS.keys() == completing.FORMS.keys()
