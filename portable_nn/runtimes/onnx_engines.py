"""Engines that run ONNX files, a function each: on the processor, in one thread and in float32."""

from __future__ import annotations

from typing import Any

from portable_nn.runtimes.task import Run, Task, given, names_of


def onnxruntime(task: Task) -> Run:
    """A session of onnxruntime."""
    from portable_nn.core.runtime import runtime

    options = runtime().SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime().InferenceSession(str(task.path), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(names_of(task.outputs), dict(feeds))


def reference(task: Task) -> Run:
    """``onnx.reference``: the standard's own evaluator, in Python."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(task.path))
    return lambda feeds: evaluator.run(names_of(task.outputs), dict(feeds))


def openvino(task: Task) -> Run:
    """A compiled model of OpenVINO, which by default may compute in bfloat16 where the processor can."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = core.compile_model(core.read_model(str(task.path)), "CPU", options)

    def run(feeds: Any) -> list[Any]:
        found = compiled(given(task, feeds))
        return [found[place].copy() for place in range(len(task.outputs))]

    return run


def tract(task: Task) -> Run:
    """A typed model of tract, an engine in Rust."""
    import tract

    model = tract.onnx().load(str(task.path))
    model.analyse()
    runnable = model.into_model().into_runnable()
    return lambda feeds: [each.to_numpy() for each in runnable.run(given(task, feeds))]


def opencv(task: Task) -> Run:
    """A net of OpenCV's DNN module."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(str(task.path))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    if hasattr(net, "enableWinograd"):
        net.enableWinograd(False)

    def run(feeds: Any) -> Any:
        for port in task.inputs:
            net.setInput(feeds[port.name], port.name)
        return net.forward(names_of(task.outputs))

    return run
