"""Results show themselves as tables."""

from __future__ import annotations

from portable_nn import adversarial


def test_a_result_and_a_comparison_are_tables() -> None:
    assert repr(adversarial.simulate()).splitlines()[-1] == (
        "verdict       diverges (proved by the eigenvalues): the distance is multiplied by 1.004988 per step"
    )
    shown = repr(adversarial.compare(methods=["simultaneous", "optimistic"])).splitlines()
    assert shown[0] == "bilinear, 1,000 gradient evaluations each"
    assert [line.split()[0] for line in shown[1:]] == ["method", "optimistic", "simultaneous"]
