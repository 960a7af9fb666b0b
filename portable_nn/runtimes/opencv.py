"""The DNN module of OpenCV."""

from __future__ import annotations

from typing import Any

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """A net on the CPU, in float32."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(str(task.path))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    if hasattr(net, "enableWinograd"):
        net.enableWinograd(False)
    names = [port.name for port in task.outputs]

    def run(feeds: Any) -> dict[str, Any]:
        for port in task.inputs:
            net.setInput(feeds[port.name], port.name)
        return dict(zip(names, net.forward(names), strict=True))

    return run
