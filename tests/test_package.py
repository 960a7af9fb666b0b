"""The package as it is installed and imported."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest
from public_api import lines

import portable_nn

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE = (ROOT / "portable_nn/__init__.py").read_text(encoding="utf-8")
HOMES = re.findall(r"^    from (portable_nn\.[\w.]+) import \*$", SOURCE, re.MULTILINE)
"""The modules whose ``__all__`` are public, as a type checker finds them."""

NEW_LAYER = '''

def Thrice(*, name: str | None = None) -> Layer:
    """3 · x."""
    return OperatorLayer("Sum", "thrice", name)
'''


def python(code: str, cwd: Path = ROOT) -> str:
    """What a new process prints, which finds packages in ``cwd``."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=alone)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def installed(folder: Path) -> Path:
    """A folder with the package as a wheel installs it."""
    ignored = shutil.ignore_patterns("__pycache__", "samples")
    shutil.copytree(ROOT / "portable_nn", folder / "portable_nn", ignore=ignored)
    for name in ("converters", "models"):
        shutil.copytree(ROOT / name, folder / "portable_nn" / name, ignore=ignored)
    return folder


def test_every_name_of_every_public_module_is_public() -> None:
    expected = {"__version__"}.union(*(import_module(home).__all__ for home in HOMES))
    assert set(dir(portable_nn)) == set(portable_nn.__all__) == expected
    assert len(portable_nn.__all__) == len(expected) > 80
    assert {"Dense", "Layer", "emit", "Network", "load", "Adam", "History", "predict", "check", "load_model"} < expected
    for home in HOMES:
        for name in import_module(home).__all__:
            assert getattr(portable_nn, name) is getattr(import_module(home), name)


@pytest.mark.long
def test_all_public_names_come_with_a_star() -> None:
    code = "from portable_nn import *; print(Dense(3).units, Adam(0.1).learning_rate, __version__)"
    assert python(code) == f"3 0.1 {portable_nn.__version__}"


@pytest.mark.long
def test_unknown_names_are_attribute_errors_that_suggest_another() -> None:
    assert not hasattr(portable_nn, "Dens")
    assert not hasattr(portable_nn, "__wrapped__")
    with pytest.raises(AttributeError, match=r"^module 'portable_nn' has no attribute 'Dens'$"):
        _ = portable_nn.Dens  # type: ignore[attr-defined]
    done = subprocess.run(
        [sys.executable, "-c", "import portable_nn; portable_nn.Dens"], cwd=ROOT, capture_output=True, text=True
    )
    assert "Did you mean: 'Dense'?" in done.stderr


@pytest.mark.long
def test_a_name_is_imported_when_it_is_asked_for() -> None:
    code = "import portable_nn, sys; {}; print([m for m in {} if 'portable_nn.' + m in sys.modules])"
    later = ["network", "opening", "prediction", "outputs", "inspection", "analysis", "training.fit"]
    assert python(code.format("portable_nn.PortableNNError", ["layers", *later])) == "[]"
    assert python(code.format("portable_nn.Dense; portable_nn.Adam", later)) == "[]"
    assert python(code.format("from portable_nn import layers", later)) == "[]"


@pytest.mark.long
def test_a_layer_is_added_in_one_module(tmp_path: Path) -> None:
    """Its function and a line of ``__all__``: nothing else has to know it."""
    module = installed(tmp_path) / "portable_nn/layers/activation.py"
    text = module.read_text(encoding="utf-8")
    assert text.count('    "ThresholdedReLU",\n') == 1
    text = text.replace('    "ThresholdedReLU",\n', '    "ThresholdedReLU",\n    "Thrice",\n')
    module.write_text(text + NEW_LAYER, encoding="utf-8")
    code = """
import portable_nn as pnn
from portable_nn import *
assert "Thrice" in dir(pnn) and Thrice is pnn.Thrice is pnn.layers.Thrice
print(pnn.Sequential(pnn.Input(2), pnn.Thrice()).graph.nodes[0].name)
"""
    assert python(code, tmp_path) == "thrice_1"


@pytest.mark.long
def test_type_checkers_see_every_public_name(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs mypy")
    installed(tmp_path / "site")
    names = [name for name in portable_nn.__all__ if name != "__version__"]
    user = tmp_path / "user.py"
    lines = [
        "import portable_nn as pnn",
        "from portable_nn import *",
        *(f"pnn.{name}, {name}" for name in names),
        "reveal_type(pnn.Dense(3))",
        "reveal_type(pnn.load('x.safetensors'))",
        "reveal_type(Mish())",
        "reveal_type(pnn.__version__)",
        "pnn.Dens",
        "pnn.Sequential(pnn.Input(2)).fit([], [], epochs=[])",
    ]
    user.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", "cache", user.name],
        cwd=tmp_path,
        env={"MYPYPATH": "site"},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    found = re.findall(r"^user\.py:(\d+): (\w+): (.*)$", done.stdout, re.MULTILINE)
    expected = [
        ("note", "portable_nn.layers.dense.Dense"),
        ("note", "portable_nn.network.network.Network"),
        ("note", "portable_nn.layers.layer.Layer"),
        ("note", "str"),
        ("error", "[attr-defined]"),
        ("error", 'Argument "epochs"'),
    ]
    assert [int(line) for line, _, _ in found] == [*range(len(lines) - 5, len(lines) + 1)]
    for (_, kind, message), (wanted, part) in zip(found, expected, strict=True):
        assert kind == wanted
        assert part in message


WITHIN = """
import importlib
import portable_nn, portable_nn.models.digits_mlp, portable_nn.converters.onnx
assert portable_nn.load_model("digits-mlp").labels[0] == "0"
for name in ("benchmarks", "docs", "portable_nn", "tests", "tests.conftest"):
    try:
        importlib.import_module(f"portable_nn.{name}")
    except ModuleNotFoundError as error:
        assert error.name == f"portable_nn.{name.split('.')[0]}", error
    else:
        print(name)
print(portable_nn.__file__)
"""
"""What is found in the package, and what is not; prints where the package is, after what should not be found."""


FIRST = """
import site, sys
finders = sys.meta_path[:]
paths = sys.path[:]
site.addsitedir(SITE)
sys.path[:] = [each for each in sys.path if each not in paths] + paths
sys.meta_path[:] = [each for each in sys.meta_path if each not in finders] + finders
sys.path.insert(0, SITE)
"""
"""What is in ``SITE`` comes before a package that is installed already."""


@pytest.mark.long
def test_a_checkout_adds_converters_and_models_and_nothing_else() -> None:
    assert python(WITHIN) == str(ROOT / "portable_nn/__init__.py")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_an_installed_package_has_converters_and_models_and_nothing_else(kind: str, tmp_path: Path) -> None:
    """The wheel is built, and put where packages are, by what ``pip install`` calls."""
    pytest.importorskip("hatchling", reason="hatchling builds the package")
    tree = tmp_path / "tree"
    for name in ("portable_nn", "converters", "models", "tests/golden"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("benchmarks", "docs", "tests"):
        (tree / name).mkdir(exist_ok=True)
        (tree / name / "__init__.py").touch()
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    build = f"from hatchling import build; build.build_{kind}({str(wheels)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, text=True)
    (wheel,) = wheels.iterdir()
    assert f"-{portable_nn.__version__}-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    found = python(f"SITE = {str(site)!r}{FIRST}{WITHIN}", tmp_path)
    assert found == str((site if kind == "wheel" else tree) / "portable_nn/__init__.py")


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT["project"]
    file = ROOT / PROJECT["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{portable_nn.__version__}"' in file.read_text(encoding="utf-8")


def test_a_release_sets_the_version_and_the_date_everywhere_or_nowhere(tmp_path: Path) -> None:
    names = ("CHANGELOG.md", "CITATION.cff", "portable_nn/core/version.py")
    before = [(ROOT / name).read_text(encoding="utf-8") for name in names]
    before[0] = before[0].replace("\n## ", "\n## 9.0.0rc1 (not yet released)\n\n## ", 1)
    for name, text in zip(names, before, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    def release(version: str) -> tuple[int, list[str]]:
        program = [sys.executable, ROOT / ".ci/releasing.py", "version", version, "2030-01-02"]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, [(tmp_path / name).read_text(encoding="utf-8") for name in names]

    assert release("9.0") == release("8.0.0") == (1, before)
    code, (changes, citation, version) = release("9.0.0rc1")
    assert code == 0
    assert changes == before[0].replace("9.0.0rc1 (not yet released)", "9.0.0rc1 (2030-01-02)")
    assert "\nversion: 9.0.0rc1\ndate-released: 2030-01-02\n" in citation
    assert version.endswith('\n__version__ = "9.0.0rc1"\n')
    assert release("9.0.0rc1") == (0, [changes, citation, version])


@pytest.mark.long
def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    """Of trees that were written at different times, in different folders."""
    pytest.importorskip("hatchling", reason="hatchling builds the package")
    built = []
    for year in (2001, 2020):
        tree, target = tmp_path / f"tree{year}", tmp_path / f"built{year}"
        target.mkdir()
        for name in ("portable_nn", "converters"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tree)
        (tree / "models").mkdir()
        for path in tree.rglob("*"):
            os.utime(path, (time := datetime(year, 1, 1).timestamp(), time))
        build = f"from hatchling import build; build.build_wheel({str(target)!r}); build.build_sdist({str(target)!r})"
        subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, text=True)
        built.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert len(built[0]) == 2
    assert built[0] == built[1]


def test_importing_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import portable_nn, sys; print([m for m in ('numpy', 'onnx', 'onnxruntime', 'h5py') if m in sys.modules])"
    assert python(code) == "[]"


@pytest.mark.long
def test_training_imports_neither_onnx_nor_onnxruntime() -> None:
    code = "import portable_nn as p, sys; p.Sequential(p.Input(2), p.Dense(1)); print('onnx' in sys.modules)"
    assert python(code) == "False"


def test_what_the_tests_may_do_without_is_imported_where_it_is_needed() -> None:
    """Whoever installs what the README says has not got these; one such import keeps all tests from being collected."""
    optional = {"torch", "torchvision", "onnxscript"}
    found = {
        file.name: [
            line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "from "))
        ]
        for file in (ROOT / "tests").rglob("*.py")
    }
    assert [
        (name, line) for name, lines in found.items() for line in lines if line.split()[1].split(".")[0] in optional
    ] == []


def test_public_names_and_their_parameters_change_only_on_purpose() -> None:
    """A change here is one for those who use the package: CONTRIBUTING.md has the policy, public_api.py the command."""
    assert list(lines()) == (ROOT / "tests/golden/public_api.txt").read_text(encoding="utf-8").splitlines()


def test_every_public_function_says_what_it_does_and_is_typed() -> None:
    public = {name: getattr(portable_nn, name) for name in portable_nn.__all__}
    functions = {name: value for name, value in public.items() if inspect.isfunction(inspect.unwrap(value))}
    assert len(functions) > 20
    for name, value in public.items():
        assert name == "__version__" or not callable(value) or value.__doc__, name
    for name, function in functions.items():
        found = inspect.signature(function)
        bare = [each.name for each in found.parameters.values() if each.annotation is each.empty]
        assert (bare, found.return_annotation is found.empty) == ([], False), name
