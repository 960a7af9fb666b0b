"""What onnxruntime runs models on. Where no other provider is installed, onnxruntime's answers are made up."""

from __future__ import annotations

import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.core.errors import MissingProviderError, ProviderWarning, UsageError
from portable_nn.core.names import PROVIDERS
from portable_nn.onnx import providers

CPU, CUDA, TENSORRT = (PROVIDERS[name][0] for name in ("cpu", "cuda", "tensorrt"))


@pytest.fixture
def net():
    return pnn.Sequential(pnn.Input(2), pnn.Dense(1), seed=0)


def built_with(monkeypatch, *names):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*names, providers.REMOTE, CPU])


def test_the_names_are_those_of_onnxruntime():
    known = set(onnxruntime.get_all_providers())
    assert {theirs for theirs, _ in PROVIDERS.values()} <= known
    assert set(providers.installed().values()) == set(onnxruntime.get_available_providers()) - {providers.REMOTE}


def test_the_processor_computes_the_same(net):
    x = [[1.0, 2.0], [3.0, -4.0]]
    usual = net.predict(x, engine="onnxruntime")
    for provider in ("cpu", "auto"):
        engine = pnn.OnnxRuntime(provider)
        assert (net.predict(x, engine=engine) == usual).all()
        assert (net.session(engine=engine).predict(x) == usual).all()
    assert (net.predict(x, engine="onnxruntime") == usual).all()


def test_which_are_tried(monkeypatch):
    built_with(monkeypatch, TENSORRT, CUDA)
    assert providers.chosen("auto") == [CUDA, CPU]
    assert providers.chosen("tensorrt") == [TENSORRT, CPU]
    assert providers.chosen("cpu") == [CPU]


def test_one_that_is_missing(net, monkeypatch):
    built_with(monkeypatch)
    told = (
        "^provider 'cuda' is not in the onnxruntime that is installed, which has cpu: pip .* install onnxruntime-gpu$"
    )
    with pytest.raises(MissingProviderError, match=told) as caught:
        net.predict([[1, 2]], engine=pnn.OnnxRuntime("cuda"))
    assert caught.value.exit_code == 4
    with pytest.raises(UsageError, match=r"^provider must be auto, cpu, cuda, .* or qnn, not 'gpu'$"):
        net.predict([[1, 2]], engine=pnn.OnnxRuntime("gpu"))


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_one_that_is_installed_and_does_not_start(net, monkeypatch, capfd):
    built_with(monkeypatch, CUDA)  # This onnxruntime does not know it: it goes on without, or raises.
    with pytest.warns(ProviderWarning, match=r"provider 'cuda' .*does not start.* cpu"):
        found = net.predict([[1, 2]], engine=pnn.OnnxRuntime("cuda"))
    assert (found == net.predict([[1, 2]], engine="onnxruntime")).all()
    assert capfd.readouterr().out == ""


def test_one_that_raises_when_it_starts(net, monkeypatch):
    built_with(monkeypatch, CUDA)
    real = onnxruntime.InferenceSession

    def refusing(source, options, providers, **given):
        if CUDA in providers:
            raise RuntimeError("no   device")
        return real(source, options, providers=providers, **given)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    with pytest.warns(ProviderWarning, match=r"provider 'cuda' does not start, and cpu runs the model \(no device\)$"):
        net.predict([[1, 2]], engine=pnn.OnnxRuntime("cuda"))


def test_one_that_runs_no_node(net, monkeypatch):
    built_with(monkeypatch, CUDA)
    real = onnxruntime.InferenceSession

    class Idle:
        def __init__(self, source, options, providers, **given):
            self.real = real(source, options, providers=[CPU])

        def get_providers(self):
            return [CUDA, CPU]

        def __getattr__(self, name):
            return getattr(self.real, name)

    if not hasattr(real, "get_provider_graph_assignment_info"):
        pytest.skip("this onnxruntime does not say what runs a node")
    monkeypatch.setattr(onnxruntime, "InferenceSession", Idle)
    with pytest.warns(ProviderWarning, match="provider 'cuda' can run no node of it, and cpu runs all"):
        net.predict([[1, 2]], engine=pnn.OnnxRuntime("cuda"))


def test_another_provider_where_there_is_one(net):
    others = [name for name in providers.installed() if name not in {"cpu", "tensorrt"}]
    if not others:
        pytest.skip("this onnxruntime has only the processor")
    found = net.predict([[1, 2]], engine=pnn.OnnxRuntime(others[0]))
    assert found == pytest.approx(net.predict([[1, 2]]), rel=1e-3)
