"""onnxruntime-web, the WebAssembly build of onnxruntime, under Node.js.

Node finds the package where ``NODE_PATH`` says, or in a ``node_modules`` of the current folder or one above it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import which
from typing import Any, Final

import numpy as np

from portable_nn.runtimes.task import Run, Task

VERSION: Final = "console.log(require('onnxruntime-web').env.versions.web)"

SCRIPT: Final = """
const ort = require("onnxruntime-web"), fs = require("fs");
ort.env.wasm.numThreads = 1;  // Several would wait for each other by spinning.
ort.env.logLevel = "fatal";
const arrays = {float32: Float32Array, float64: Float64Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array, uint64: BigUint64Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
  int16: Int16Array, uint16: Uint16Array, float16: Uint16Array};
const asked = JSON.parse(fs.readFileSync("asked.json"));
(async () => {
  const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(asked.path)));
  const feeds = {};
  for (const [place, {name, dtype, shape}] of asked.inputs.entries()) {
    const {buffer, byteOffset, length} = fs.readFileSync(`given-${place}.bin`);
    const data = new arrays[dtype](buffer.slice(byteOffset, byteOffset + length));
    feeds[name] = new ort.Tensor(dtype, data, shape);
  }
  const found = await session.run(feeds, asked.outputs), shapes = [];
  for (const [place, name] of asked.outputs.entries()) {
    const {data, dims, type} = found[name];
    fs.writeFileSync(`found-${place}.bin`, Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    shapes.push([type, [...dims]]);
  }
  fs.writeFileSync("found.json", JSON.stringify(shapes));
  process.exit(0);
})().catch(error => { console.error(String(error.message || error)); process.exit(1); });
"""


def version() -> str | None:
    """The version that Node finds, or ``None``."""
    node = which("node")
    if node is None:
        return None
    done = subprocess.run([node, "-e", VERSION], capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.strip()


def load(task: Task) -> Run:
    """Node runs the model, once for each of the inputs."""
    script = task.folder / "run.cjs"
    script.write_text(SCRIPT, encoding="utf-8")

    def run(feeds: Any) -> dict[str, Any]:
        for place, port in enumerate(task.inputs):
            np.ascontiguousarray(feeds[port.name]).tofile(task.folder / f"given-{place}.bin")
        inputs = [{"name": p.name, "dtype": p.dtype, "shape": feeds[p.name].shape} for p in task.inputs]
        asked = {"path": str(task.path), "inputs": inputs, "outputs": [port.name for port in task.outputs]}
        (task.folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        return _answer(task, script)

    return run


def _answer(task: Task, script: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(which("node")), str(script)], cwd=task.folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"node ended with {done.returncode}")
    shapes = json.loads((task.folder / "found.json").read_bytes())
    return {
        port.name: np.fromfile(task.folder / f"found-{place}.bin", dtype).reshape(shape)
        for place, (port, (dtype, shape)) in enumerate(zip(task.outputs, shapes, strict=True))
    }
