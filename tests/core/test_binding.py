from __future__ import annotations

import pytest

from portable_nn.core.binding import bind, parse_sizes
from portable_nn.core.errors import UsageError


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        ([], {}),
        (["N,3,224,224"], ("N", 3, 224, 224)),
        ([" 1 , batch_size"], (1, "batch_size")),
        (["x=1,3"], {"x": (1, 3)}),
        (["a/b:0=1", "y=N,2"], {"a/b:0": (1,), "y": ("N", 2)}),
        (["a=b=1,2"], {"a=b": (1, 2)}),
    ],
)
def test_sizes_as_they_are_written(texts, sizes):
    assert parse_sizes(texts) == sizes


@pytest.mark.parametrize("text", ["", "1,,3", "1x3", "-1,3", "1.5", "x=", "N,3,"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match=r"^expected sizes such as N,3,224,224, not "):
        parse_sizes([text])


def test_several_without_names():
    with pytest.raises(
        UsageError, match=r"^sizes for several inputs need their names: --in x=1,3,224,224 --in y=1,10$"
    ):
        parse_sizes(["1,3", "y=1"])


def test_a_name_has_one_size_everywhere():
    shapes = {"x": ("N", 3), "mask": ("N",), "rest": None}
    assert bind(shapes, {"x": (5, 3)}) == ({"x": (5, 3), "mask": (5,)}, {"N": 5})
    assert bind(shapes, {"x": ("any", "thing")}) == ({"x": ("N", 3), "mask": ("N",)}, {})
    assert bind(shapes, {"rest": ("M", 2)}) == ({"x": ("N", 3), "mask": ("N",), "rest": ("M", 2)}, {})
    assert bind({"x": ()}, ()) == ({"x": ()}, {})


def test_no_inputs():
    with pytest.raises(UsageError, match=r"^there are 0 inputs: say for which the sizes are, such as x=1,3$"):
        bind({}, (1, 2))
    with pytest.raises(UsageError, match=r"^there is no input 'x': there are none$"):
        bind({}, {"x": (1,)})
