"""Manifests that are written: whatever rows hold comes back, and what cannot be written leaves nothing behind."""

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_ser.corpora import ManifestRow, read_manifest, write_manifest
from multimodal_ser.errors import InputError


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_what_is_written_is_read_back(tmp_path, ending):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", [0.0] * 800, 16_000)
    rows = [
        ManifestRow(
            path=tmp_path / "audio" / "a.wav", id="1", emotion="anger|fear", text='He said "no", twice', sentence="s1", speaker="x", session="Ses01",
            start=0.0, end=0.04, arousal=1.5, votes={"anger": 2.0, "fear": 1.0}, turn=3, dialogue="d", language="de",
        ),
        ManifestRow(text="Äh, ok.", id="2", emotion="neutral", split="train"),
    ]  # fmt: skip
    write_manifest(rows, tmp_path / f"table{ending}")
    manifest = read_manifest(tmp_path / f"table{ending}")
    assert not manifest.errors and list(manifest.rows) == rows
    with pytest.raises(InputError, match=r"ends in \.csv"):
        write_manifest(rows, tmp_path / "table.xlsx")


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda cell: cell.strip() == cell and cell.lower() not in ("nan", "<na>")
)
LINE = CELL.filter(lambda cell: "\n" not in cell)
NUMBER = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.lists(
        st.builds(
            ManifestRow, text=CELL, speaker=st.none() | LINE, sentence=st.none() | LINE, arousal=st.none() | NUMBER, turn=st.none() | st.integers(0, 99),
            votes=st.none() | st.dictionaries(LINE, st.floats(0.5, 9), min_size=1, max_size=3),
        ),
        min_size=1, max_size=6, unique_by=lambda row: row.text,
    ),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_whatever_rows_hold_is_written_and_read_back(tmp_path_factory, rows, ending):
    path = write_manifest(rows, tmp_path_factory.mktemp("round") / f"m{ending}")
    manifest = read_manifest(path)
    assert manifest.errors == () and list(manifest.rows) == rows
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_paths_are_written_from_the_tables_folder_where_they_lie_below_it(tmp_path):
    rows = [ManifestRow(path=tmp_path / "in" / "a.wav"), ManifestRow(path=tmp_path / "b.wav")]
    path = write_manifest(rows, tmp_path / "in" / "m.csv")
    assert path.read_text().splitlines()[1:] == ["a.wav", (tmp_path / "b.wav").as_posix()]
    assert list(read_manifest(path, check_files=False).rows) == rows


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match=r"line 7, text: expected UTF-8, got bytes of another encoding"):
        write_manifest([ManifestRow(text="half a \ud83d", place="m.jsonl, line 7")], tmp_path / "m.csv")
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="expected a file that can be written"):
        write_manifest([ManifestRow(text="a")], tmp_path / "taken" / "m.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
