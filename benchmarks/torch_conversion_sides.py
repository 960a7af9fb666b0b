"""What ``torch_conversion.py`` measures: each side in a process of its own."""

from __future__ import annotations

import time

from sides import SEED

SIZE = 224


def write(path: str) -> float:
    """The state dict of a resnet18 with random weights; the seconds that takes."""
    import torch
    import torchvision

    begun = time.perf_counter()
    torch.manual_seed(SEED)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return time.perf_counter() - begun


def network(path: str, out: str) -> float:
    """The network of the module with these weights, as a weight file; the seconds that takes."""
    import torch
    import torchvision

    from portable_nn.converters.torch import from_torch

    begun = time.perf_counter()
    module = torchvision.models.resnet18(weights=None)
    module.load_state_dict(torch.load(path, weights_only=True))
    from_torch(module, torch.zeros(1, 3, SIZE, SIZE), verify=False).save(out)
    return time.perf_counter() - begun


def torch_load(path: str) -> float:
    """``torch.load`` and ``load_state_dict`` into a module that is there."""
    import torch
    import torchvision

    module = torchvision.models.resnet18(weights=None)
    begun = time.perf_counter()
    module.load_state_dict(torch.load(path, weights_only=True))
    return time.perf_counter() - begun


def our_load(path: str, weights: str) -> float:
    """``load_state`` into a network that is there."""
    import portable_nn as pnn
    from portable_nn.converters.torch import load_state

    net = pnn.load(weights)
    begun = time.perf_counter()
    load_state(net, path)
    return time.perf_counter() - begun


def our_import(path: str, weights: str, verify: bool) -> float:
    """``import_state``: a new network with these weights, with the proof or without it."""
    import portable_nn as pnn
    from portable_nn.converters.torch import import_state

    net = pnn.load(weights)
    begun = time.perf_counter()
    import_state(path, into=net, verify=verify)
    return time.perf_counter() - begun
