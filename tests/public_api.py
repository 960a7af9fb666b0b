"""The public names with their signatures, a line each: ``python tests/public_api.py > tests/golden/public_api.txt``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import portable_nn


def signature(value: object) -> str:
    """The parameters of a function or class; nothing of what has none that can be found."""
    if not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except ValueError:
        return ""
    kept = (each.replace(annotation=each.empty) for each in found.parameters.values())
    text = str(found.replace(parameters=tuple(kept), return_annotation=found.empty))
    return re.sub(r"<function .*? at 0x\w+>", "...", text)


def lines() -> Iterator[str]:
    """Each public name of the package, and each public method and property of the classes among them."""
    for name in portable_nn.__all__:
        value = getattr(portable_nn, name)
        yield f"{name}{'' if name == '__version__' else signature(value)}"
        for attribute, member in sorted(vars(value).items()) if isinstance(value, type) else ():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                yield f"{name}.{attribute}{signature(getattr(value, attribute)) if callable(member) else ''}"


if __name__ == "__main__":
    print("\n".join(lines()))
