"""Tables whose rows stand above their functions."""

from __future__ import annotations

import pytest

from portable_nn.converters.rows import Rows


def test_a_name_has_one_row_which_may_give_its_function_an_argument() -> None:
    table = Rows()

    @table.row("half", double=2, triple=3)
    def times(*given: float) -> float:
        return given[0] * given[1] if len(given) > 1 else given[0] / 2

    assert {name: row(5) for name, row in table.items()} == {"half": 2.5, "double": 10, "triple": 15}
    for names, values in ((("half",), {}), ((), {"double": 4}), (("new", "new"), {}), (("newer",), {"newer": 1})):
        with pytest.raises(ValueError, match="two rows"):
            table.row(*names, **values)(times)
    assert table["double"](5) == 10
