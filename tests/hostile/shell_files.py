"""Small valid files of every kind that a command reads, how each is changed, and the command lines that read it."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import forge_hdf5
import forge_npz
import forge_pickles
import forge_safetensors
import graph_files
import h5py
import numpy as np
import safetensors.numpy
from file_changes import change_message, change_tree, scrambled
from forge import Forge, dumps
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, checker, helper, parser
from PIL import Image
from reframing import REFRAMES
from test_hostile_mutation import follow

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError
from portable_nn.network import Network
from portable_nn.onnx.writing import to_model

Change: TypeAlias = Callable[[bytes, random.Random], bytes]

FILE = "FILE"
"""What stands for the changed file in a command line."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        files: valid ones, by the names that they have.
        changes: how one is changed, the bytes at random apart.
        lines: command lines that read ``FILE``.
        beside: other files that these lines read, by name.
    """

    files: Mapping[str, bytes]
    lines: Sequence[str]
    changes: Sequence[Change] = ()
    beside: Mapping[str, bytes] = field(default_factory=dict)


# Networks


def networks() -> dict[str, Network]:
    """A classifier of rows, one of pictures, and a generator."""
    rows = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.Sigmoid(), pnn.Dense(3), labels="abc", seed=0)
    picture = pnn.Input(1, 8, 8)
    pictures = pnn.Sequential(
        picture, pnn.Conv2d(2, kernel=3), pnn.BatchNorm2d(), pnn.ReLU(), pnn.MaxPool2d(2), pnn.Flatten(), pnn.Dense(3)
    )
    series = pnn.Sequential(
        pnn.Input(3, 5), pnn.Conv1d(2, kernel=2), pnn.Flatten(), pnn.Dense(2), pnn.Softmax(), seed=0
    )
    return {"rows": rows, "pictures": pictures, "series": series}


def saved(network: Network, suffix: str, folder: Path) -> bytes:
    path = folder / f"made{suffix}"
    network.save(path)
    return path.read_bytes()


def operators() -> list[bytes]:
    """An ONNX model for each operator and form of it, without the marks of this package."""
    from onnx_cases import CASES, graph_of

    found = []
    for place, graph in enumerate(map(graph_of, CASES)):
        weights = {value.name: np.ones(value.shape, value.dtype) for value in graph.parameters}
        with suppress(PortableNNError):
            found.append(to_model(graph, weights, opset=17 + place % 6).SerializeToString())
    return found


FOREIGN = {
    "if": """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) {
        s = ReduceSum <keepdims = 0> (x)
        zero = Constant <value = float {0}> ()
        c = Greater (s, zero)
        y = If (c) <then_branch = t () => (float[N, 4] a) { a = Neg (x) },
                    else_branch = e () => (float[N, 4] b) { b = Abs (x) }>
    }""",
    "loop": """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) {
        n = Constant <value = int64 {3}> ()
        go = Constant <value = bool {1}> ()
        y = Loop (n, go, x) <body = b (int64 i, bool c, float[N, 4] v) => (bool d, float[N, 4] w)
            { d = Identity (c) w = Neg (v) }>
    }""",
    "sequence": """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) {
        s = SequenceConstruct (x, x)
        one = Constant <value = int64 {1}> ()
        y = SequenceAt (s, one)
    }""",
    "function": """<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[N, 4] x) => (float[N, 4] y) {
        y = own.twice (x)
    }
    <domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add (a, a) }""",
    "quantised": """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4] x) => (float[N, 4] y) {
        s = Constant <value = float {0.1}> ()
        z = Constant <value = uint8 {3}> ()
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }""",
    "words": """<ir_version: 8, opset_import: ["" : 17]> g (string[N] x) => (string[N] y) { y = Identity (x) }""",
}
"""Models with what this package does not write."""


def foreign() -> dict[str, bytes]:
    made = {f"{name}.onnx": parser.parse_model(text).SerializeToString() for name, text in FOREIGN.items()}
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.ones(12).tolist())
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 3))
    ]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    made["linear.onnx"] = model.SerializeToString()
    tensor = model.graph.initializer[0]
    del tensor.float_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "beside.bin", "offset": "0", "length": "48"}.items():
        tensor.external_data.add(key=key, value=value)
    made["external.onnx"] = model.SerializeToString()
    return made


def model(data: bytes, dice: random.Random) -> bytes:
    """Changes of fields of the messages that an ONNX model is made of."""
    found = ModelProto()
    try:
        found.ParseFromString(data)
        for _ in range(dice.randint(1, 3)):
            change_message(found, dice)
        return found.SerializeToString()
    except (DecodeError, UnicodeDecodeError, ValueError, TypeError):
        return scrambled(data, dice)


def name_bytes(data: bytes, dice: random.Random) -> bytes:
    """Names that are not UTF-8: protobuf checks that in no file."""
    at = [place for place in range(len(data) - 1) if data[place : place + 1].isalpha()]
    for place in dice.sample(at, min(3, len(at))):
        data = data[:place] + bytes([dice.choice((0, 0xFF, 0x80, 0x1B))]) + data[place + 1 :]
    return data


# Weight files


def forged(pack: Callable[[Forge], bytes], text_of: Callable[[bytes], bytes]) -> Change:
    """Changes of the manifest, and a file with other data that the changed manifest describes."""

    def change(data: bytes, dice: random.Random) -> bytes:
        made = Forge()
        try:
            made.manifest = json.loads(text_of(data))
            for _ in range(dice.randint(1, 3)):
                change_tree(made.manifest, dice)
            follow(made)
            if dice.randrange(4) == 0:
                made.text = scrambled(dumps(made.manifest), dice)
            return pack(made)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError, struct.error):
            return scrambled(data, dice)

    return change


def parts_of(data: bytes) -> tuple[Any, bytes]:
    """The header of a safetensors file, and its data."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def safetensors_text(data: bytes) -> bytes:
    return str(parts_of(data)[0]["__metadata__"]["portable_nn"]).encode()


def hdf5_text(data: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", data, 74)
    return data[forge_hdf5.TEXT : forge_hdf5.TEXT + length]


def same_tensors(data: bytes, dice: random.Random) -> bytes:
    """Changes of the manifest alone: the tensors stay, which gets past what compares them."""
    header, rest = parts_of(data)
    manifest = json.loads(header.pop("__metadata__")["portable_nn"])
    for _ in range(dice.randint(1, 2)):
        change_tree(manifest, dice)
    return forge_safetensors.frame(forge_safetensors.header_of(dumps(manifest), header), rest)


def head(data: bytes, dice: random.Random) -> bytes:
    """Changes of the header of a safetensors file."""
    header, rest = parts_of(data)
    change_tree(header, dice)
    return forge_safetensors.frame(dumps(header), rest)


def digest(data: bytes, dice: random.Random) -> bytes:
    """Changes of the manifest's bytes, with its right SHA-256."""
    try:
        header, rest = parts_of(data)
        text = scrambled(header.pop("__metadata__")["portable_nn"].encode(), dice)
        return forge_safetensors.frame(forge_safetensors.header_of(text, header), rest)
    except ValueError:
        return scrambled(data, dice)


def mended(mend: Callable[[bytes], bytes]) -> Change:
    """Changes of bytes, with right checksums."""

    def change(data: bytes, dice: random.Random) -> bytes:
        try:
            return mend(scrambled(data, dice))
        except (struct.error, IndexError):
            return data

    return change


# Arrays

DTYPES = ("<f4", "<f8", "<f2", ">f4", "<i8", "|b1", "|u1", "<U3", "|S2", "|O", "<c8", "<M8[s]", "|V4", "<f16", "f4")

SHAPES = ((), (0,), (1,), (4,), (2, 4), (3, 4), (2, 2, 2), (1,) * 33, (1,) * 65, (2**31, 2**31), (2**62,))


def npy(dtype: str, shape: Sequence[int], data: bytes) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + data


def npy_header(data: bytes, dice: random.Random) -> bytes:
    """An array of another type and shape, with as much data as it needs or other."""
    shape = dice.choice(
        [(), (0,), (1,), (4,), (2, 4), (3, 4), (2, 2, 2), (1,) * 33, (1,) * 65, (2**31, 2**31), (2**62,)]
    )
    dtype = dice.choice(DTYPES)
    size = min(int(np.prod([float(each) for each in shape])) * 4, 10_000)
    return npy(dtype, shape, bytes(dice.randrange(256) for _ in range(size)))


def stored(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def one(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def hdf5(library: str) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", libver=library) as file:
        file["x"], file["y"] = X, Y
        file.create_dataset("packed/w", data=X, compression="gzip", shuffle=True)
        file.attrs["note"] = "text"
    return content.getvalue()


X = np.arange(24, dtype=np.float32).reshape(6, 4) / 8
Y = np.arange(6) % 3


# Tables, labels and pictures

CELLS = [
    "",
    "nan",
    "inf",
    "1e999",
    "-1",
    "x",
    "1_0",
    "é",
    "\0",
    "0x10",
    '"',
    "1,2",
    "9" * 400,
    "1;2",
    "\u0661",
    " ",
    "\ufeff",
]


def cells(data: bytes, dice: random.Random) -> bytes:
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(dice.randint(1, 4)):
        row = dice.choice(rows)
        way = dice.randrange(3)
        if way == 0 and row:
            row[dice.randrange(len(row))] = dice.choice(CELLS)
        elif way == 1:
            row.append(dice.choice(CELLS))
        elif row:
            row.pop()
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")


def names(data: bytes, dice: random.Random) -> bytes:
    tree = json.loads(data)
    change_tree(tree, dice)
    return json.dumps(tree).encode()


def picture(form: str, mode: str = "L") -> bytes:
    content = io.BytesIO()
    pixels = (np.add.outer(np.arange(12), np.arange(12)) * 11 % 256).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(content, form)
    return content.getvalue()


def chunks(data: bytes, dice: random.Random) -> bytes:
    """Changes of the chunks of a PNG file, with right checksums."""
    at, made = 8, [data[:8]]
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if dice.randrange(2):
            body = body[:4] + scrambled(body[4:], dice)
        made.append(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(made)


TABLE = b"\n".join(b"%d,%d,%d,%d,%d" % (i % 3, i, 2 * i, i * i, 7 - i) for i in range(8)) + b"\n"
IDX = b"\0\0\x08\2" + struct.pack(">II", 6, 4) + bytes(range(24))


def checkpoint(folder: Path) -> bytes:
    """The newest of a training of ``rows``, as ``train`` makes it."""
    from portable_nn.cli import main

    (folder / "table.csv").write_bytes(TABLE)
    line = f"{RESUMED} --out {folder}/trained.npz --checkpoint {folder}/run -q".replace(DATA, str(folder / "table.csv"))
    assert main(line.split()) == 0
    return max((folder / "run").iterdir()).read_bytes()


DATA = "table.csv"
RESUMED = f"train 4-3-3 {DATA} --validation 0 --epochs 2 --preprocess none"
NEWEST = "checkpoint-00000002.safetensors"


LOOKS = ("inspect FILE", "check FILE", "size net FILE", "inspect FILE --format json")
RUNS = (
    "predict FILE x.npy --engine numpy --raw",
    f"predict FILE {DATA} --engine onnxruntime",
    "predict FILE p.png --engine onnxruntime --format json",
    f"predict FILE {DATA} p.png --engine numpy --io io.npz",
)
USES = (
    *LOOKS, *RUNS, *(f"convert FILE out{suffix}" for suffix in (".safetensors", ".h5", ".npz", ".onnx")),
    "inspect FILE --manifest", "inspect model.safetensors --against FILE", "inspect FILE --against model.safetensors",
    "inspect FILE --plot out.dot", "export FILE out.onnx --verify none", "export FILE out.onnx",
    f"tune FILE {DATA} --epochs 1 --out out.npz", "sample FILE --out out.npy",
)  # fmt: skip
IMPORTS = ("import FILE out.safetensors", "import FILE out.h5 --verify none", "import FILE out.npz --dim N=2")
GRAPHS = (*IMPORTS[1:2] * 6, *IMPORTS[::2], *RUNS[:2], *LOOKS[:3])
"""Most without verification, which takes long."""

TENSORS = (
    "inspect FILE",
    "inspect FILE --against model.safetensors",
    "convert FILE out.h5 --against model.safetensors",
)
ROWS = ("predict model.safetensors FILE", "train 4-3-3 FILE --epochs 1 --out out.npz", "predict digits-mlp FILE")
LABELS = (
    "predict model.safetensors x.npy --labels FILE",
    f"train 4-3 {DATA} --labels FILE -o out.npz --epochs 1",
)
ONNX = (model, model, model, name_bytes)


def kinds(folder: Path, only: str = "") -> dict[str, Kind]:
    """Every kind, or that one at least; ``folder`` is for what has to be written on the way."""
    beside = {DATA: TABLE, "x.npy": one(X), "beside.bin": np.ones(12, "<f4").tobytes(), "p.png": picture("PNG")}
    beside |= {"model.safetensors": saved(networks()["rows"], ".safetensors", folder)}
    made = {"graphs": Kind(graph_files.files(), GRAPHS, (graph_files.changed,) * 4)}
    if only not in made:  # The others take longer.
        made |= {**_of_networks(folder), **_of_arrays(), **_of_tables(folder), **_of_texts_and_pictures()}
        made["pickle"] = _pickles(folder)
    return {name: replace(kind, beside={**beside, **kind.beside}) for name, kind in made.items()}


def _of_networks(folder: Path) -> dict[str, Kind]:
    made = networks()
    weights = {
        suffix: {f"{name}{suffix}": saved(each, suffix, folder) for name, each in made.items()}
        for suffix in (".safetensors", ".h5", ".npz")
    }
    own = {f"{name}.onnx": _exported(each, folder) for name, each in made.items()}
    bare = {f"{name}.onnx": to_model(each.graph, each.parameters).SerializeToString() for name, each in made.items()}
    single = {f"{place}.onnx": each for place, each in enumerate(operators())}
    resumed = f"{RESUMED} --out out.npz --checkpoint run --resume"
    packed = (forged(forge_safetensors.pack, safetensors_text), same_tensors, digest, head)
    return {
        "safetensors": Kind(weights[".safetensors"], USES, packed),
        "h5": Kind(weights[".h5"], USES, (forged(forge_hdf5.pack, hdf5_text), mended(forge_hdf5.mend))),
        "npz": Kind(weights[".npz"], USES, (forged(forge_npz.pack, forge_npz.text_of), mended(forge_npz.mend))),
        "re-saved": Kind(_resaved(made["rows"], folder), USES),
        "re-saved h5": Kind(_resaved(made["rows"], folder, ".h5"), USES, (mended(forge_hdf5.mend_checksums),)),
        "onnx": Kind(bare | foreign(), (*USES, *IMPORTS), ONNX),
        "own onnx": Kind(own, (*USES, *IMPORTS), ONNX),
        "operators": Kind(single, (*LOOKS, *RUNS, *IMPORTS), ONNX),
        "checkpoint": Kind({f"run/{NEWEST}": checkpoint(folder)}, (resumed, *LOOKS), (same_tensors, digest, head)),
    }


def _of_arrays() -> dict[str, Kind]:
    archive = (mended(forge_npz.mend),)
    recorded = ("export model.safetensors out.onnx --io FILE", "convert model.safetensors out.h5 --io FILE")
    libraries = {f"{library}.h5": hdf5(library) for library in ("earliest", "latest")}
    idx = ("train 4-3 FILE --target labels.csv --epochs 1 --out out.npz", "predict model.safetensors FILE")
    return {
        "plain safetensors": Kind({"a.safetensors": safetensors.numpy.save({"x": X, "w": X})}, TENSORS, (head,)),
        "plain h5": Kind(libraries, (*TENSORS, *ROWS), (mended(forge_hdf5.mend_checksums),)),
        "plain npz": Kind({"a.npz": stored(x=X, y=Y), "b.npz": stored(x=Y)}, (*TENSORS, *ROWS), archive),
        "npy": Kind({"a.npy": one(X)}, (*TENSORS, *ROWS, "import FILE FILE out.npz"), (npy_header, npy_header)),
        "recording": Kind({"io.npz": stored(input=X, dense_2=X[:, :3])}, recorded, archive),
        "idx": Kind(
            {"a-idx2-ubyte": IDX, "a-idx2-ubyte.gz": gzip.compress(IDX, mtime=0)},
            idx,
            beside={"labels.csv": b"0\n1\n2\n0\n1\n2\n"},
        ),
    }


def _pickles(folder: Path) -> Kind:
    into = ("import FILE out.h5 --against model.safetensors --verify none", "import FILE out.npz --activation tanh")
    other = ("convert FILE out.safetensors", "convert FILE out.npz", "inspect FILE --format json", "check FILE")
    changes = (forge_pickles.changed, forge_pickles.changed, forge_pickles.forged, forge_pickles.forged)
    return Kind(forge_pickles.files(folder), (*into, *into, *TENSORS, *other), changes)


def _of_tables(folder: Path) -> dict[str, Kind]:
    """Tables and arrays that libraries of others read; a folder is changed in one of its files."""
    if not (find_spec("pyarrow") and find_spec("zarr")):
        return {}
    import table_files

    given = table_files.numbers()
    columns = {name: given[name].to_numpy() for name in (*table_files.NAMES, "kind")}
    pnn.train_table("auto-4-auto", columns, target="kind", epochs=1, progress=False).network.save(
        folder / "made.safetensors"
    )
    beside = {"named.safetensors": (folder / "made.safetensors").read_bytes()}
    rows = (
        "predict named.safetensors FILE", "evaluate named.safetensors FILE", "predict named.safetensors FILE --raw",
        "train auto-4-auto FILE --target kind --epochs 1 --out out.npz",
        "tune named.safetensors FILE --epochs 1 --out out.npz",
    )  # fmt: skip
    arrays = (
        "predict model.safetensors FILE --inputs x", "evaluate model.safetensors FILE --inputs x --target y",
        "train 4-3 FILE --inputs x --target y --epochs 1 --out out.npz",
        "predict model.safetensors FILE --inputs a,b,c,d",
    )  # fmt: skip
    in_folder = [line.replace(FILE, "a.zarr") for line in arrays[:3]]
    found = {
        "parquet": Kind({f"{n}.parquet": each for n, each in enumerate(table_files.of_parquet(given))},
                        (*rows, *arrays), table_files.PARQUET, beside),
        "arrow": Kind({f"{n}.arrow": each for n, each in enumerate(table_files.of_arrow(given))}, rows,
                      table_files.ARROW, beside),
    }  # fmt: skip
    for way in ("v3", "v3 shards", "v2"):
        files = table_files.of_zarr()[way]
        found[f"zarr {way}"] = Kind(files, in_folder, (table_files.description, table_files.truncated), files)
    return found


def pictures() -> dict[str, bytes]:
    """A picture in each format and mode."""
    modes = ("L", "RGB", "RGBA", "P", "1", "I", "F", "CMYK", "LA")
    forms = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP", "pgm": "PPM"}
    found = dict[str, bytes]()
    for suffix, form in forms.items():
        for mode in modes:
            with suppress(OSError, ValueError):  # A format without that mode.
                found[f"{mode}.{suffix}"] = picture(form, mode)
    return found


def _of_texts_and_pictures() -> dict[str, Kind]:
    labelled = f"train 4-3 {DATA} --target FILE --out out.npz --epochs 1"
    shown = ("predict digits-mlp FILE --engine numpy", "predict digits-mlp FILE p.png --format json")
    return {
        "csv": Kind({"a.csv": TABLE}, (*ROWS, labelled), (cells, cells)),
        "labels": Kind({"a.json": b'["a", "b", "c"]', "a.txt": b"a\nb\nc\n"}, LABELS, (names,)),
        "picture": Kind(pictures(), shown, (chunks,)),
    }


def _resaved(network: Network, folder: Path, *suffixes: str) -> dict[str, bytes]:
    """Weight files that other programs have written again."""
    found = dict[str, bytes]()
    for suffix in suffixes or REFRAMES:
        old, new = folder / f"made{suffix}", folder / f"again{suffix}"
        for seed, reframe in enumerate(REFRAMES[suffix]):
            network.save(old)
            reframe(old, new, random.Random(seed))
            found[f"{reframe.__name__}{suffix}"] = new.read_bytes()
    return found


def _exported(network: Network, folder: Path) -> bytes:
    from portable_nn.converters.onnx import export_onnx

    export_onnx(network, folder / "made.onnx", verify=False)
    return (folder / "made.onnx").read_bytes()
