"""Table files: what is written is what a reader gets, safe for spreadsheets, in bounded memory."""

import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from qupath_hccmil.errors import DataError, WriteError
from qupath_hccmil.tables.export_columns import BY_NAME, columns_of
from qupath_hccmil.tables.table import Batch, Table
from qupath_hccmil.tables.table_writer import write_table


def batch(**values: object) -> Batch:
    """One row of the level image."""
    return {column.name: [values.get(column.name)] for column in columns_of("image")}


def table(*batches: Batch) -> Table:
    return Table("image", batches)


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


ROW = {
    "image": 'Größe, "A"\n.svs',
    "entry_id": "1",
    "risk": 0.1 + 0.2,
    "risk_logit": -1e-17,
    "tiles": 12,
    "stale": False,
}


def test_csv_holds_every_bit_and_empty_cells_for_no_value(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "t.csv"
    assert write_table(table(batch(**ROW), batch(image="b")), path) == 2
    first, second = cells(path)
    assert list(first) == [column.name for column in columns_of("image")]
    assert first["image"] == ROW["image"]
    assert float(first["risk"]) == ROW["risk"]
    assert float(first["risk_logit"]) == ROW["risk_logit"]
    assert (first["tiles"], first["stale"], first["group"]) == ("12", "false", "")
    assert {name for name, value in second.items() if value} == {"image"}


def test_parquet_holds_types_and_the_meaning_of_each_column(tmp_path: Path) -> None:
    path = tmp_path / "t.PARQUET"
    assert write_table(table(batch(**ROW), batch(image="b")), path) == 2
    frame = pd.read_parquet(path)
    assert frame["risk"].tolist()[0] == ROW["risk"]
    assert frame["risk"].isna().tolist() == [False, True]
    assert frame["stale"].tolist() == [False, None]
    schema = pq.read_schema(path)
    assert str(schema.field("tiles").type) == "int64"
    assert schema.field("mpp").metadata[b"unit"] == BY_NAME["mpp"].unit.encode()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_texts_that_a_spreadsheet_would_run_are_defused_in_csv_only(
    tmp_path: Path, text: str
) -> None:
    rows = table(batch(image=text, risk_logit=-1.0))
    write_table(rows, tmp_path / "t.csv")
    write_table(rows, tmp_path / "t.parquet")
    (row,) = cells(tmp_path / "t.csv")
    assert row["image"] == "'" + text
    assert row["risk_logit"] == "-1.0"
    assert pd.read_parquet(tmp_path / "t.parquet")["image"].tolist() == [text]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_table_has_its_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    assert write_table(table(), path) == 0
    frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(frame.columns) == [column.name for column in columns_of("image")]


def test_another_suffix_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.xlsx: tables are written as \.csv or \.parquet"):
        write_table(table(), tmp_path / "t.xlsx")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_text("old")

    def broken() -> Iterator[Batch]:
        yield batch(image="a")
        raise DataError("the second image is damaged")

    with pytest.raises(DataError, match="second image"):
        write_table(Table("image", broken()), path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv" / "x").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"t\.csv: cannot be written"):
        write_table(table(batch(image="a")), tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path, suffix: str) -> None:
    def many(images: int) -> Iterator[Batch]:
        for k in range(images):
            n = 2_000
            values: dict[str, object] = {"image": f"slide {k}", "class": "HCC-MIL low risk"}
            yield {
                column.name: [k + 0.5] * n
                if column.kind == "number"
                else [values.get(column.name, "x")] * n
                for column in columns_of("tile")
            }

    def peak(images: int) -> int:
        tracemalloc.start()
        try:
            rows = write_table(Table("tile", many(images)), tmp_path / f"t{suffix}")
            assert rows == images * 2_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # imports
    assert peak(60) < 1.3 * peak(26)


def test_columns_are_told_in_one_place() -> None:
    for level in ("image", "annotation", "tile", "patient"):
        columns = columns_of(level)  # type: ignore[arg-type]
        assert all(column.meaning for column in columns)
        assert len({column.name for column in columns}) == len(columns)
