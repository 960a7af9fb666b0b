"""Configurations of Keras in which something else stands in the place of options."""

from __future__ import annotations

from typing import Any

import pytest

from portable_nn.converters.keras.side import _averages_same
from portable_nn.converters.keras.spec import numbers_in


@pytest.mark.parametrize("options", [None, [1], "same", 3])
def test_what_is_no_options_has_none(options: Any) -> None:
    assert numbers_in({"class_name": "__numpy__", "config": options}) is None
    assert not _averages_same({"class_name": "AveragePooling2D", "config": options})


def test_options_are_found_in_what_holds_them() -> None:
    number = {"class_name": "__numpy__", "config": {"value": 0.5}}
    assert numbers_in({"class_name": "__tensor__", "config": {"value": number}}) == 0.5
    pool = {"class_name": "AveragePooling2D", "config": {"padding": "same"}}
    assert _averages_same({"config": {"layers": [pool]}})
