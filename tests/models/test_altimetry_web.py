"""The networks that read echoes give in a browser's runtime what they give in Python."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.models.altimetry.echoes import mean_echoes, speckled
from portable_nn.models.altimetry.judging import unseen

SCRIPT = """
const ort = require("onnxruntime-web"), fs = require("fs");
ort.env.wasm.numThreads = 1;  // Several would wait for each other by spinning.
(async () => {
  const [model, shape] = [process.argv[2], JSON.parse(process.argv[3])];
  const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(model)));
  const given = new Float32Array(fs.readFileSync("given.bin").buffer.slice(0));
  const found = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", given, shape) });
  const values = found[session.outputNames[0]].data;
  fs.writeFileSync("found.bin", Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  process.exit(0);
})();
"""


def in_node(model, x, folder):
    node = shutil.which("node")
    if not node or subprocess.run([node, "-e", "require('onnxruntime-web')"], capture_output=True).returncode:
        pytest.skip("Node finds no onnxruntime-web")
    (folder / "run.js").write_text(SCRIPT)
    x.tofile(folder / "given.bin")
    subprocess.run([node, "run.js", str(model), json.dumps(x.shape)], cwd=folder, check=True)
    return np.fromfile(folder / "found.bin", np.float32)


def printed(name, found):
    """What people see, in metres or as a probability: means and standard deviations, or softmax."""
    if name == "altimetry-surface":
        powers = np.exp(found - found.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return np.concatenate([found[..., :2], np.exp(found[..., 2:] / 2)], axis=-1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["altimetry-swh", "altimetry-surface", "altimetry-track"])
def test_in_node_as_in_python(name, tmp_path):
    """To 1e-5 of the unit on echoes of the sea; where there is none, metres of uncertainty are as near as millimetres.

    The mean power of an echo is the same factor in all gates. Its rounding error, which depends on the order in which a
    runtime adds, changed heights by 2.5e-5 m, until the network took it off.
    """
    model, network, rng = find_model(name), pnn.load_model(name), np.random.default_rng(8)
    sea = speckled(mean_echoes(unseen(rng.uniform(0.5, 8, 512), rng), dtype=np.float32), rng)
    strange = np.load(find_model("altimetry-swh").samples / "echoes.npy")
    for x, tolerance in ((sea, 1e-5), (strange, 1e-3)):
        given = x[np.newaxis] if name == "altimetry-track" else x
        wanted = network.predict(given)
        found = in_node(model.onnx, given, tmp_path).reshape(wanted.shape)
        np.testing.assert_allclose(
            printed(name, found), printed(name, wanted.astype(np.float64)), atol=tolerance, rtol=0
        )
