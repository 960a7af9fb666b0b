"""A file that a network was trained on is known by its bytes, wherever it lies; a file with one other byte is not."""

from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.errors import DataError
from portable_nn.data.trained import TRAINED_ON, known_before, note_trained, trained_notes, training_file
from portable_nn.data.trained import test_share as share_to_test  # pytest would run it.

PATH = Path(__file__)


def test_each_file_is_noted_once_and_known_by_its_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.csv", "two.csv", "other.csv"))
    one.write_bytes(b"a,b\n" * 500_000)
    two.write_bytes(b"")
    metadata = {"mine": "words"}
    for _ in range(2):
        note_trained(metadata, training_file(one, 0.25, 7))
        note_trained(metadata, training_file(two, 0, 0))
    digests = [xxhash.xxh3_64_hexdigest(path.read_bytes()) for path in (one, two)]
    assert metadata == {"mine": "words", TRAINED_ON: f"{digests[0]} 0.25 7, {digests[1]} 0 0"}
    other.write_bytes(one.read_bytes())
    known = metadata[TRAINED_ON]
    [copied, whole] = trained_notes(known, [str(other), two, {"in": "memory"}, tmp_path, tmp_path / "none.csv"])
    assert copied.startswith(
        f"{other}: the model was trained on these examples, but for a share of 0.25, held out with seed 7; "
    )
    assert whole.startswith(f"{two}: the model was trained on these examples; ")
    other.write_bytes(one.read_bytes()[:-1] + b" ")
    assert trained_notes(known, other) == trained_notes("", one) == []


def test_rows_to_test_on_are_known_again_unless_another_training_saw_them(tmp_path: Path) -> None:
    path, metadata = tmp_path / "a.csv", dict[str, str]()
    path.write_text("a,b\n")
    with pytest.raises(DataError, match="none of its examples were held out to test the model"):
        share_to_test("", path, blocks=False)
    note_trained(metadata, training_file(path, 0.1, 7, 0.25))
    assert share_to_test(metadata[TRAINED_ON], path, blocks=False) == (0.25, 7)
    [said] = trained_notes(metadata[TRAINED_ON], path)
    assert "but for a share of 0.1 and of 0.25 (which --test evaluates), held out with seed 7; figures" in said
    assert not known_before(metadata, training_file(path, 0.1, 7, 0.25))
    note_trained(metadata, training_file(path, 0.1, 7))
    assert known_before(metadata, training_file(path, 0.1, 7))
    with pytest.raises(DataError, match="trained on it several times, each with other examples held out"):
        share_to_test(metadata[TRAINED_ON], path, blocks=False)
    [said] = trained_notes(metadata[TRAINED_ON], path)
    assert "the model was trained on these examples; figures" in said


@given(st.text("0123456789abcdef .,e-", max_size=40))
def test_an_entry_that_is_none_is_no_share(words: str) -> None:
    digest = xxhash.xxh3_64_hexdigest(PATH.read_bytes())
    for entry in (words, f"{digest} {words}", f"{digest} 0.1 0 {words}"):
        try:
            share, seed = share_to_test(entry, PATH, blocks=False)
        except DataError:
            continue
        assert 0 <= share < 10
        assert seed >= 0


def test_a_folder_is_known_by_its_files_until_one_changes(tmp_path: Path) -> None:
    metadata = dict[str, str]()
    for folder in (tmp_path / "mine", tmp_path / "copied"):
        for name in ("b/2.png", "a/1.png"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(name.encode())
    note_trained(metadata, training_file(tmp_path / "mine", 0.1, 7, 0.25))
    known, copied = metadata[TRAINED_ON], tmp_path / "copied"
    [said] = trained_notes(known, [copied, tmp_path])
    assert said.startswith(f"{copied}: the model was trained on these examples, but for a share of 0.1 and of 0.25 (")
    assert share_to_test(known, copied, blocks=False) == (0.25, 7)
    (copied / "a/1.png").write_bytes(b"c/1.png")  # Another picture of the same name and size.
    assert trained_notes(known, copied) == []
    (copied / "a/1.png").write_bytes(b"a/1.png")
    assert trained_notes(known, copied) == [said]
    (copied / "a/1.png").rename(copied / "b/1.png")
    assert trained_notes(known, copied) == []


def test_a_folder_of_many_files_is_known_by_the_sizes_of_all(tmp_path: Path) -> None:
    """Of 600 files not all are read."""
    (tmp_path / "a").mkdir()
    for place in range(600):
        (tmp_path / f"a/{place}.png").write_bytes(b"picture")
    known = training_file(tmp_path, 0.1, 7, 0.25)
    assert len(trained_notes(known, tmp_path)) == 1
    for place in range(10):
        (tmp_path / f"a/{place}.png").write_bytes(b"another one")
        assert trained_notes(known, tmp_path) == []
        (tmp_path / f"a/{place}.png").write_bytes(b"picture")


def test_standard_input_is_not_noted() -> None:
    assert training_file(Path("-"), 0.1, 0) == ""


def test_words_of_others_in_the_metadata_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1")
    assert trained_notes("on data of mine, and, more", path) == []
