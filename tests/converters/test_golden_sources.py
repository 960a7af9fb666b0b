"""The texts of written sources are those that are kept: what changes them is read before it is committed."""

from __future__ import annotations

import pytest
from golden_sources import NETWORKS, WRITERS, file_of, text_of


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("base", WRITERS)
def test_a_source_is_written_as_it_was(base: str, name: str) -> None:
    """``python tests/converters/golden_sources.py`` writes all of them anew."""
    if base in ("torch", "keras"):
        pytest.importorskip(base)
    assert text_of(base, name) == file_of(base, name).read_text(encoding="utf-8")
