"""``help --format json`` says what commands take and print, and they do."""

from __future__ import annotations

import shlex

import pytest
from conftest import check_against_schema
from test_cli_main import PATHS, _options

import portable_nn as pnn
from portable_nn.cli.schemas import OUTPUTS, expanded
from portable_nn.core import errors

LINES = [
    "train 4-3-3 flowers.csv --epochs 1 --out new.safetensors",
    "tune digits-mlp mistaken.csv --epochs 1 --out new.safetensors",
    "models list",
    "models show digits",
    "models build altimetry-data --hours 0.001 --out tracks.h5",
    "predict digits-mlp digits.csv",
    "predict digits-gan --samples 2",
    "evaluate digits-mlp digits.csv --top 2",
    "calibrate digits-mlp mistaken.csv --out new.safetensors",
    "export digits-mlp new.onnx",
    "import theirs.onnx new.safetensors",
    "convert digits-mlp new.npz",
    "diff digits-mlp digits-mlp",
    "inspect digits-mlp",
    "inspect theirs.npz --against digits-mlp",
    "check digits-mlp",
    "check digits-mlp --runtimes numpy",
    "size conv --in 5 --kernel 2 --stride 2",
    "size conv --in 28 --to 14",
    "size convt --in 3 --kernel 3 --stride 2",
    "size pool --in 8 --kernel 3",
    "size net digits-mlp",
    "simulate run --steps 5 --top 2",
    "simulate compare --steps 20",
    "simulate sweep --rate 0.1,0.5 --steps 10",
    "simulate spectrum",
    "simulate field --steps 5 --grid 3",
    "simulate gan --steps 2",
    "simulate list",
    "doctor",
    "completion bash",
    "help",
]


@pytest.fixture
def files(tmp_path, digits_csv, flowers_csv):
    """Files that the lines read."""
    rows = digits_csv.read_text() * 4
    (tmp_path / "mistaken.csv").write_text(f"3{rows[1:]}")
    network = pnn.load_model("digits-mlp")
    network.save(tmp_path / "theirs.npz")
    pnn.export_onnx(pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0), tmp_path / "theirs.onnx")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("line", LINES)
def test_output_is_as_described_and_any_other_is_refused(run, line):
    from jsonschema import ValidationError

    words = [*shlex.split(line), "--format", "json"]
    code, out, err = found = run(*words)
    assert (code, out[:1]) == (0, "{"), err
    check_against_schema(words, found.json)
    for name in found.json:
        with pytest.raises(ValidationError):
            check_against_schema(words, {**found.json, name: object()})
    for other in ({**found.json, "more": 1}, {name: each for name, each in found.json.items() if name != "schema"}):
        with pytest.raises(ValidationError):
            check_against_schema(words, other)


def test_every_command_is_described_and_has_a_schema(run):
    from jsonschema import Draft202012Validator

    described = run("help", "--format", "json").json
    commands = {tuple(each["path"]): each for each in described["commands"]}
    assert sorted(commands) == sorted(PATHS)
    assert {" ".join(path) for path in PATHS} | {"help"} == set(OUTPUTS)
    assert all(any(line.split()[: len(path)] == list(path) for line in LINES) for path in PATHS)
    for each in commands.values():
        Draft202012Validator.check_schema(each["output"])
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "exit_code")]
    assert {str(each.exit_code) for each in kinds} | {"0", "70", "130"} <= set(described["exit_codes"])


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_description_of_a_command_has_what_its_help_has(run, path):
    [found] = run("help", *path, "--format", "json").json["commands"]
    assert found["path"] == list(path)
    for asked, options in (
        ("--help", [each for each in found["options"] if each["in_first_help"]]),
        ("--help-all", found["options"]),
    ):
        out = run(*path, asked).out
        text = "".join(out.split())  # Lines end at hyphens, too.
        assert {name for each in options for name in each["names"] if name.startswith("--")} | {"--help"} == set(
            _options(out)
        )
        for part in (*found["help"].split("\n\n"), *found["examples"], *(each["help"] for each in options)):
            assert "".join(part.split()) in text
        for each in options:
            assert each["choices"] is None or "|".join(each["choices"]) in text
        for each in (*options, *found["arguments"]):
            assert each["metavar"] is None or "".join(each["metavar"].split()) in text


@pytest.mark.parametrize(("words", "count"), [(["size"], 4), (["size", "net"], 1)])
def test_help_of_a_group_describes_its_commands(run, words, count):
    found = run("help", *words, "--format=json").json["commands"]
    assert len(found) == count
    assert all(each["path"][: len(words)] == words for each in found)


def test_format_of_a_help(run):
    assert run("help", "train", "--format", "table") == run("train", "--help")
    assert run("help", "--format", "csv").code == run("help", "--nonsense", "--format", "json").code == 2
    assert run("help", "trian", "--format", "json").err == run("trian").err


def test_shapes():
    assert expanded({"a b?": "int | null", "c": [("str", {"*": "number"})]}) == {
        "type": "object",
        "properties": {
            "a": {"type": ["integer", "null"]},
            "b": {"type": ["integer", "null"]},
            "c": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "object",
                            "properties": {},
                            "required": [],
                            "additionalProperties": {"type": "number"},
                        },
                    ]
                },
            },
        },
        "required": ["a", "c"],
        "additionalProperties": False,
    }
