from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.cli import COMMANDS, conventions, models, module_of, printing, simulate, size
from portable_nn.cli.options import listed
from portable_nn.core.errors import MissingPackageError, TrainingError
from portable_nn.core.version import __version__

GROUPS = {"models": models.COMMANDS, "size": size.COMMANDS, "simulate": simulate.COMMANDS}

PATHS = [
    *((name,) for name in COMMANDS if name not in GROUPS),
    *((group, name) for group, rows in GROUPS.items() for name in rows),
]
"""The words that call each command."""


MOST_SHOWN, MOST_OPTIONS = 15, 114
"""Of one command in --help; and of all commands together."""


def _options(text: str) -> list[str]:
    """The spellings of options under the headings of a help."""
    _, *sections = re.split(r"^\S[\w ]*:$", text, flags=re.MULTILINE)
    return re.findall(r"(?:^  (?:-\w, )?|(?<= / ))(--[\w-]+)", "".join(sections), re.MULTILINE)


HEAVY = {"numpy", "onnx", "onnxruntime", "rich", "msgspec", "imageio", "h5py", "matplotlib", "torch"}


@pytest.mark.parametrize("arguments", [["--help"], [], ["-h"]])
def test_help_lists_the_commands(run, arguments):
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in COMMANDS)


def test_groups_are_those_that_have_a_table():
    modules = {name: module_of(name) for name in COMMANDS}
    assert {name: module.COMMANDS for name, module in modules.items() if hasattr(module, "COMMANDS")} == GROUPS


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("arguments", [["--help"], [], ["-h"]])
def test_help_of_a_group_lists_its_commands(run, group, arguments):
    if group == "models" and not arguments:
        assert run(group).out == run(group, "list").out
        return
    code, out, err = run(group, *arguments)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: portable-nn {group} [OPTIONS] COMMAND [ARGS]...\n")
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in GROUPS[group])
    assert f"portable-nn {group} COMMAND --help has the options of a command" in out
    assert COMMANDS[group].removesuffix(".") in " ".join(out.split())


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_lists_the_options_and_has_examples(run, path):
    from portable_nn.cli import _command

    code, out, err = run(*path, "--help-all")
    assert (code, err) == (0, "")
    parameters = _command(*path).params
    for option in (opt for parameter in parameters if parameter.param_type_name == "option" for opt in parameter.opts):
        assert re.search(rf"^  (-\w, )?{option}\b", out, re.MULTILINE) or re.search(
            rf"^  {option}, ", out, re.MULTILINE
        )
    assert all(parameter.help for parameter in parameters)
    options = {opt for parameter in parameters for opt in parameter.opts}
    assert {"--format", "--force", "--quiet", "--debug"} <= options
    assert "--out" in options or path in {("export",), ("import",), ("convert",)}  # They have an argument for it.
    assert f"\n  Examples:\n    portable-nn {' '.join(path)}" in out
    assert "Arguments:\n\n" not in out
    assert not re.search(r" +$", out, re.MULTILINE)


def test_help_shows_what_most_people_need_by_subject(run):
    shown = {path: [_options(run(*path, asked).out) for asked in ("--help", "--help-all")] for path in PATHS}
    for found, every in shown.values():
        assert {"--format", "--force", "--help", "--help-all"} <= set(found) <= set(every)
    assert {path: len(found) for path, (found, _) in shown.items() if len(found) > MOST_SHOWN} == {}


def test_distinct_options(run):
    """``--no-x`` is counted with ``--x``."""
    every = {name for path in [(), *PATHS] for name in _options(run(*path, "--help-all" if path else "-h").out)}
    assert len({name.replace("--no-", "--") for name in every}) <= MOST_OPTIONS


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_line_in_the_table_is_the_first_of_the_help(run, path):
    *group, name = path
    summary = (GROUPS[group[0]] if group else COMMANDS)[name]
    assert summary.removesuffix(".") in " ".join(run(*path, "--help").out.split())


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_examples_parse(path):
    from portable_nn.cli import _command

    for example in module_of(*path).EXAMPLES:
        words = shlex.split(example)
        assert tuple(words[: len(path)]) == path
        _command(*path).make_context(path[-1], words[len(path) :])


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


@given(st.lists(NAMES, min_size=1))
def test_names_with_commas_are_quoted_as_in_csv(names):
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(names)
    assert listed([written.getvalue()]) == names
    assert listed(["a, b", "c,"]) == ["a", "b", "c"]


LIGHT = [
    ["--help"],
    ["--version"],
    ["predict", "--help"],
    ["train", "--help"],
    ["tune", "--help"],
    ["export", "--help"],
    ["models", "--help"],
    ["models", "build", "--help"],
    ["size"],
    ["size", "conv", "--help"],
    ["doctor", "--help"],
    ["completion", "bash"],
    ["simulate"],
    ["simulate", "run", "--help"],
    ["simulate", "gan", "--help"],
]


@pytest.mark.long
def test_help_imports_nothing_heavy():
    lines = "; ".join(f"main({arguments!r})" for arguments in LIGHT)
    code = f"import sys; from portable_nn.cli import main; {lines}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())


def test_version(run):
    assert run("--version") == (0, f"portable-nn {__version__}\n", "")


@pytest.mark.long
def test_in_a_process_of_its_own(shell):
    assert shell("--version") == (0, f"portable-nn {__version__}\n", "")
    assert shell("predct") == (2, "", "error: no command is called 'predct': did you mean 'predict'?\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predct"], "no command is called 'predct': did you mean 'predict'?"),
        (["xyz"], f"no command is called 'xyz': the commands are {', '.join(COMMANDS)}"),
        (["size", "cnv"], "no command is called 'size cnv': did you mean 'size conv'?"),
        (
            ["size", "xyz"],
            "no command is called 'size xyz': the commands are size conv, size convt, size pool, size net",
        ),
        (["size", "deconv"], "no command is called 'size deconv': did you mean 'size convt'?"),
        (["size", "convtranspose"], "no command is called 'size convtranspose': did you mean 'size conv' or 'size con"),
        (["size", "--in", "3"], "no such option: --in; options stand after a command, as in size conv --in (see port"),
        (["--top", "3", "evaluate"], "no such option: --top; options stand after a command, as in evaluate --top ("),
        (["simulate", "compare", "x*y"], "unexpected: x*y; simulate compare takes options alone, such as --game GAME"),
        (["size", "conv"], "missing option '--in' (see portable-nn size conv --help)"),
        (["models", "digits"], "no command is called 'models digits': the commands are models list, models show, mo"),
        (["train", "digits", "--out", "m.h5"], "missing argument 'DATA' (see portable-nn train --help)"),
        (["train", "--from", "digits", "x.csv"], "no such option: --from"),
        (
            ["predict", "digits-gan", "--sampels", "25", "--plot", "x.png"],
            "no such option: --sampels; did you mean --samples?",
        ),
        (["predict", "digits", "x.png", "--outputs", "x.txt"], "no such option: --outputs"),
        (
            ["predict", "digits", "--topp", "3"],
            "no such option: --topp; did you mean --top? (see ",
        ),
        (
            ["export", "digits", "-o", "x.onnx"],
            "no such option: -o: the file to write is the last argument, OUT",
        ),
        (["predict", "digits", "x.png", "--top", "a"], "invalid value for '--top': expected a whole number (see port"),
        (["simulate", "run", "--game"], "option '--game' needs a value (see portable-nn simulate run --help)"),
        (["inspect", "digits", "x", "y"], "unexpected: x y (see portable-nn inspect --help)"),
        (["inspect", ""], "a model is called by its name or that of its file, which ends in .safetensors, "),
        (["inspect", "a\nerror: b"], "no model is called 'a\\nerror: b': shipped are "),
        (["predict", "digits", "x.csv", "--out", "."], "--out needs the name of a file"),
        (["predict", "digits", "x.csv", "--out", "/"], "/ is a folder: give the name of a file"),
        (["export", "digits", "/dev/null"], "/dev/null is no ordinary file: give the name of a file"),
        (["simulate", "run", "--csv", "x.csv"], "no such option: --csv"),
        (["size", "conv", "--in", "28", "--out", "14"], "--out 14: the name must end in .txt or .json"),
        (
            ["--top"],
            "no such option: --top; options stand after a command, as in predict --top (see portable-nn --help)",
        ),
        (["predict"], "missing argument 'MODEL' (see portable-nn predict --help)"),
        (["inspect", "digits-mlp", "--form", "x"], "no such option: --form"),
        (["inspect", "digits-mlp", "--format", "xml"], "invalid value for '--format': 'xml' is not one of 'table'"),
        (["predict", "digits-mlp", "x", "--top", "two"], "invalid value for '--top'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


TEXTS = [
    "check digits-mlp",
    "inspect digits-mlp",
    "models list",
    "models show digits-mlp",
    "predict digits-mlp digits.csv",
    "simulate list",
    "simulate run --steps 3",
    "size conv --in 5 --kernel 3",
    "size net digits-mlp",
]
"""A command line for each kind of result that is text."""


@pytest.mark.long
@pytest.mark.parametrize("words", TEXTS)
def test_the_suffix_of_out_decides_the_form(run, tmp_path, digits_csv, words):
    """And a file is not replaced unless that is asked for."""
    text, data = run(*words.split(), "-q").out, run(*words.split(), "-q", "--format", "json").out
    for suffix, wanted in (("txt", text), ("json", data)):
        assert run(*words.split(), "-q", "--out", f"x.{suffix}") == (0, "", "")
        assert (tmp_path / f"x.{suffix}").read_text() == wanted
    assert json.loads(data)["schema"] == printing.SCHEMA
    assert run(*words.split(), "-q", "-o", "-").out == text
    (tmp_path / "x.txt").write_text("precious")
    refused = run(*words.split(), "--out", "x.txt")
    assert refused == (2, "", "error: x.txt exists already: --force replaces it\n")
    assert (tmp_path / "x.txt").read_text() == "precious"
    assert run(*words.split(), "-q", "--out", "x.txt", "--force").code == 0
    assert (tmp_path / "x.txt").read_text() == text


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (TrainingError("a [bold] move"), 1, "a [bold] move"),
        (
            MissingPackageError("mlxtend", "this", "recipes"),
            4,
            "this needs the package 'mlxtend': pip install 'portable-nn[recipes]'",
        ),
        (PermissionError(13, "Permission denied", "a.csv"), 3, "a.csv: Permission denied"),
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (TrainingError("2 faults\n  one\x1b[31m\n  two"), 1, "2 faults\n  one\\x1b[31m\n  two"),
    ],
)
def test_errors_are_told_without_a_traceback(run, monkeypatch, error, code, text):
    def fail(model):
        raise error

    monkeypatch.setattr("portable_nn.outputs.reports.inspect", fail)
    assert run("inspect", "x") == (code, "", f"error: {text}\n")
    debugged = run("inspect", "x", "--debug")
    assert (debugged.code, debugged.out) == (code, "")
    assert debugged.err.startswith("Traceback")
    assert debugged.err.endswith(f"error: {text}\n")


def test_a_fault_of_our_own_is_called_one(run, monkeypatch):
    monkeypatch.setattr("portable_nn.outputs.reports.inspect", lambda model: 1 / 0)
    told = (
        "error: this is a fault of portable-nn, please report it with what --debug prints: ZeroDivisionError: division"
    )
    assert run("inspect", "x") == (70, "", f"{told} by zero\n")
    assert run("inspect", "x", "--debug").err.startswith("Traceback")


def test_ctrl_c_is_130(run, monkeypatch):
    def interrupted(model):
        raise KeyboardInterrupt

    monkeypatch.setattr("portable_nn.outputs.reports.inspect", interrupted)
    assert run("inspect", "x")[:2] == (130, "")


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path, digits_csv):
    digits_csv.write_text(digits_csv.read_text() * 600)
    command = (
        f"'{sys.executable}' -m portable_nn predict digits-mlp digits.csv --quiet | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["input", "label", "probability", "guess", "expected", str(conventions.BROKEN_PIPE)]
    assert done.stderr == ""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such shells")
def test_output_that_nobody_can_take(tmp_path, digits_csv):
    command = f"'{sys.executable}' -m portable_nn predict digits-mlp digits.csv -q "
    done = subprocess.run(["bash", "-c", command + ">&-"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("inspect digits --plot same.dot --out same.dot", "--plot and --out name the same file, "),
        ("inspect digits --plot same.dot --out ./same.dot", "--plot and --out name the same file, "),
        ("inspect digits --plot - --out found.json", "--plot - prints the graph alone: leave out --out"),
        ("inspect digits --out ", "--out needs the name of a file"),
        ("export digits d.onnx --seed -1", "invalid value for '--seed': expected at least 0"),
    ],
)
def test_options_that_do_not_go_together(run, tmp_path, words, message):
    found = run(*words.split(" "))
    assert found.code == 2
    assert message in " ".join(found.err.replace("│", "").split())
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.long
def test_closed_standard_input(tmp_path):
    command = f"{sys.executable} -m portable_nn predict digits - <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    fault = "expected a table (CSV), but standard input is closed"
    assert (done.returncode, done.stdout) == (3, f"input\nstdin  error: {fault}\n")
    assert done.stderr.startswith(f"error: stdin: {fault}")


def test_a_file_whose_name_looks_like_an_option(run, tmp_path):
    (tmp_path / "-x.csv").write_text("1,2")
    found = run("predict", "digits", "-x.csv")
    assert (found.code, found.err) == (
        2,
        "error: no such option: -x; for the file, write ./-x.csv (see portable-nn predict --help)\n",
    )
