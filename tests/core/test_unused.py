"""Names that are numbered where they are taken: the first free number, however many wish for the same."""

from __future__ import annotations

from portable_nn.core.text import unused


def counted(wish: str, taken: set[str]) -> str:
    """The same, counting from the beginning each time."""
    found, number = wish, 1
    while found.lower() in taken:
        number += 1
        found = f"{wish}_{number}"
    return found


def test_the_first_free_number_is_taken() -> None:
    taken, numbers = {"a_3", "b", "a_2_2"}, dict[str, int]()
    for wish in ["a", "A", "a", "a_2", "b", "b_2", "B_2", "a", "a_3", "A_3", "a_2", "c"] * 3:
        found = unused(wish, taken, numbers, str.lower)
        assert found == counted(wish, taken)
        taken.add(found.lower())


def test_a_hundred_thousand_equal_wishes() -> None:
    taken, numbers = set[str](), dict[str, int]()
    for _ in range(100_000):  # Counting each through would take five thousand million steps.
        taken.add(unused("relu", taken, numbers))
    assert max(map(len, taken)) == len("relu_100000")
    assert len(taken) == 100_000
