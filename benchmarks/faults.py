"""Which node do tools name that compare two models? ``python faults.py [--quick] [--seed N] [--plot FILE.png]``.

In 40 models 50 faults each are planted, one node at a time; of every second one, values and nodes have other names as
well, as between two exporters. 25 rewrites of each compute the same, and nothing should be named. Models and pairs are
kept in a folder; ``--only MODEL:f7`` (its fault 7, or ``r7``, its rewrite) prints where one pair is, the truth, and
what each tool says.

Other tools, and what models are made with: ``pip install polygraphy onnxsim onnxslim torch torchvision timm
transformers keras scikit-learn skl2onnx``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from multiprocessing.pool import ThreadPool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from fault_kinds import Pair, Planting
from fault_models import MODELS, model_of
from fault_rewrites import ROUNDED, rewritten, under_other_names
from fault_tools import TOOLS, Answer, Task
from side_by_side import processor

FAULTS, REWRITES, SAMPLE, PROCESSES = 50, 25, 100, 2
CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = [
    "fault_tools",
    "fault_rewrites",
    "polygraphy.backend.onnxrt",
    "polygraphy.comparator",
    "onnxsim.model_info",
    "onnxruntime.quantization.qdq_loss_debug",
    "fault_torch",
    "portable_nn.comparison.diff",
]
"""What takes long to import; processes are forked from one that has it, if it is installed."""

Row = dict[str, Any]
"""A pair, and what one tool says of it."""


# -- pairs


def pairs(name: str, cache: Path, seed: int) -> list[Row]:
    """The faults and rewrites of a model; made if the folder has them not."""
    folder = cache / f"pairs-{seed}" / name
    listed = folder / "pairs.json"
    if not listed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        model = model_of(name, cache)
        sources: dict[str, Iterator[Pair]] = {
            "f": islice(map(under_other_names, Planting(name, model, seed), range(FAULTS)), FAULTS),
            "r": islice(rewritten(name, model, seed), REWRITES),
        }
        rows = list[Row]()
        for letter, found in sources.items():
            for number, pair in enumerate(found):
                onnx.save(pair.model, folder / f"{letter}{number}.onnx")
                truth = {"kind": pair.kind, "nodes": pair.nodes, "moved": pair.moved, "renamed": pair.renamed}
                rows.append({"pair": f"{name}:{letter}{number}", "seed": seed, "fault": letter == "f", **truth})
        listed.write_text(json.dumps(rows))
    found_rows: list[Row] = json.loads(listed.read_text())
    return found_rows


def task(row: Row, tool: str, cache: Path) -> Task:
    name, number = row["pair"].split(":")
    return Task(tool, name, cache / f"{name}.onnx", cache / f"pairs-{row['seed']}" / name / f"{number}.onnx")


# -- answers


def say(send: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in a process of its own, and send what it returns."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    send.send(function(*arguments))


def bounded(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own; an error's name if it takes too long, or ends the process."""
    receive, send = CONTEXT.Pipe(False)
    process = CONTEXT.Process(target=say, args=(send, function, *arguments))
    process.start()
    send.close()
    try:
        return receive.recv() if receive.poll(seconds) else "took too long"
    except EOFError:
        return "ended the process"
    finally:
        process.kill()
        process.join()


def answer(given: Task) -> tuple[Answer, float]:
    """What a tool says, and the seconds of its comparison."""
    try:
        compare = TOOLS[given.tool](given)
    except ImportError as error:
        return Answer("not installed", note=str(error)), 0.0
    begun = time.perf_counter()
    try:
        found = compare()
    except Exception as error:
        found = Answer("undecided", note=f"{type(error).__name__}: {error}"[:300])
    return found, time.perf_counter() - begun


def judged(row: Row, said: Answer) -> str:
    """The column of an answer."""
    if said.verdict in ("undecided", "not applicable", "not installed"):
        return said.verdict
    if not row["fault"]:
        return "same" if said.verdict == "same" or (said.verdict, row["kind"]) == ("weights", ROUNDED) else "accused"
    if said.verdict == "same" or not said.nodes:
        return "missed"
    return "right" if {*said.nodes} <= {*row["nodes"]} else "other"


def ask(row: Row, tool: str, cache: Path, seconds: float) -> Row:
    found = bounded(seconds, answer, task(row, tool, cache))
    said, took = (Answer("undecided", note=found), seconds) if isinstance(found, str) else found
    told = {"judged": judged(row, said), "verdict": said.verdict, "named": said.nodes, "note": said.note}
    return {**row, "tool": tool, **told, "seconds": round(took, 4)}


# -- tables


def table(rows: Sequence[Row], columns: Sequence[str], counted: Callable[[Row], bool]) -> Iterator[str]:
    """How often there was each kind, how often it is counted, and how often each answer was then given."""
    yield f"| kind | {' | '.join(columns)} |"
    yield "|---" + "|--:" * len(columns) + "|"
    for kind in [*dict.fromkeys(row["kind"] for row in rows), "all"]:
        found = [row for row in rows if kind in (row["kind"], "all")]
        answers = Counter(row["judged"] for row in found if counted(row))
        figures = [len(found), answers.total(), *(answers[each] for each in columns[2:])]
        yield f"| {kind} | {' | '.join(map(str, figures))} |"


def share(rows: Sequence[Row], what: str) -> float:
    return 100 * sum(row["judged"] == what for row in rows) / max(1, len(rows))


def chosen(rows: Sequence[Row], tool: str) -> tuple[list[Row], list[Row]]:
    """The faults that move an output, and the rewrites, to which a tool applies."""
    mine = [row for row in rows if row["tool"] == tool and not row["judged"].startswith("not ")]
    return [row for row in mine if row["fault"] and row["moved"]], [row for row in mine if not row["fault"]]


def report(rows: Sequence[Row], tool: str) -> Iterator[str]:
    mine = [row for row in rows if row["tool"] == tool and not row["judged"].startswith("not ")]
    yield f"\n## {tool}\n"
    if not mine:
        yield next((row["note"] or row["judged"] for row in rows if row["tool"] == tool), "no pairs")
        return
    faults, rewrites = chosen(rows, tool)
    columns = ("planted", "moved", "right", "other", "missed", "undecided")
    yield from table([row for row in mine if row["fault"]], columns, lambda row: row["moved"])
    yield ""
    yield from table(rewrites, ("made", "equal", "same", "accused", "undecided"), lambda row: True)
    named = (f"{share([row for row in faults if row['renamed'] == other], 'right'):.1f} %" for other in (False, True))
    yield "\nright with the same names {}, with other names {}".format(*named) + (
        f"; rewrites accused {share(rewrites, 'accused'):.1f} %; median {median(row['seconds'] for row in mine):.2f} s"
    )


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of right nodes and of false accusations, by tool."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = {tool: chosen(rows, tool) for tool in TOOLS if chosen(rows, tool)[0]}
    panels: dict[str, tuple[str, Callable[[str], list[Row]]]] = {
        "right node, same names": ("right", lambda tool: [row for row in found[tool][0] if not row["renamed"]]),
        "right node, other names": ("right", lambda tool: [row for row in found[tool][0] if row["renamed"]]),
        "equal models accused": ("accused", lambda tool: found[tool][1]),
    }
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 0.8 + 0.34 * len(found)), sharey=True, layout="constrained")
    for axis, (title, (what, rows_of)) in zip(axes, panels.items(), strict=True):
        shares = [share(rows_of(tool), what) for tool in found]
        colors = ["#2f6fb0" if tool == "Portable NN" else "#b8bec6" for tool in found]
        axis.bar_label(axis.barh([*found], shares, color=colors), [f"{each:.1f} %" for each in shares], padding=4)
        axis.set_title(f"{title} ({len(rows_of(next(iter(found))))})", fontsize=10)
        axis.set(xlim=(0, 135), xticks=[])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.tick_params(length=0)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=160)


# -- the program


def only(name: str, cache: Path, seed: int, tools: Sequence[str], seconds: float) -> None:
    """Print where the two models of a pair are, the truth, and what the tools say."""
    [row] = [row for row in pairs(name.partition(":")[0], cache, seed) if row["pair"] == name]
    print(*task(row, "", cache)[2:], json.dumps(row), sep="\n")
    for tool in tools:
        found = ask(row, tool, cache, seconds)
        print(f"{tool}: {found['judged']} ({found['verdict']} {' '.join(found['named'])}) {found['note']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a sample of {SAMPLE} faults and {SAMPLE} rewrites")
    parser.add_argument("--only", metavar="MODEL:NUMBER", help="one pair, as mlp:f7 or mlp:r7")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir(), "portable-nn-faults"))
    parser.add_argument("--seed", type=int, default=0, help="other faults, rewrites and samples of the same models")
    parser.add_argument("--seconds", type=float, default=60, help="the most that one comparison may take")
    parser.add_argument("--json", type=Path, help="write every row")
    parser.add_argument("--plot", type=Path, help="draw right nodes and false accusations by tool")
    given = parser.parse_args()
    CONTEXT.set_forkserver_preload(IMPORTED)
    if given.only:
        return only(given.only, given.cache, given.seed, given.tools, given.seconds)
    print(processor(), flush=True)
    with ThreadPool(PROCESSES) as pool:
        made = pool.map(lambda name: bounded(3600, pairs, name, given.cache, given.seed), given.models, 1)
        for name, each in zip(given.models, made, strict=True):
            assert isinstance(each, list), f"{name}: making its pairs {each}"
        listed = [row for each in made for row in each]
        if given.quick:
            np.random.default_rng(given.seed).shuffle(listed)
            halves = [[row for row in listed if row["fault"] == fault][:SAMPLE] for fault in (True, False)]
            listed = [row for each in halves for row in each]
        rows = list[Row]()
        for tool in given.tools:
            rows += pool.starmap(ask, [(row, tool, given.cache, given.seconds) for row in listed], 1)
            print("\n".join(report(rows, tool)), flush=True)
    if given.json:
        given.json.write_text("\n".join(["[", ",\n".join(map(json.dumps, rows)), "]"]))
    if given.plot:
        plot(rows, given.plot)
    return None


if __name__ == "__main__":
    main()
