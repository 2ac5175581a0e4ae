"""What killed runs leave in a folder of results is deleted by a later one, once it is nobody's."""

import os
import time
from pathlib import Path

import pytest

from qupath_hccmil.leftover_files import UNNAMED_S, delete, last_change
from qupath_hccmil.results.leftovers import PIECES_S, sweep
from tests.results.conftest import everything


def left(path: Path, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    for each in (path, path.parent):
        os.utime(each, (time.time() - age,) * 2)
    return path


RESULT = "7-Fourth-0123456789abcdef"


def test_a_later_run_deletes_what_is_nobodys(cli, cohort, folder):
    before = everything(folder)
    old = [
        left(folder / f".new-{RESULT}-abcd_123.parquet", UNNAMED_S + 60),
        left(folder / ".new-run-abcd_123.json", UNNAMED_S + 60),
        left(folder / ".pieces" / RESULT / "0-2048.npz", PIECES_S + 60),
    ]
    kept = [
        left(folder / f".new-{RESULT}-efgh_456.parquet", UNNAMED_S - 600),
        left(folder / ".pieces" / RESULT.replace("7", "8") / "0-2048.npz", PIECES_S - 600),
        # not ours
        left(folder / ".new-notes-abcd_123.txt", UNNAMED_S + 60),
        left(folder / "notes.txt", PIECES_S + 60),
        left(folder / ".pieces" / "notes.txt", PIECES_S + 60),
    ]
    assert cli("score", cohort, "--results", folder, "--engine", "native", "--dry-run").code == 0
    assert all(path.exists() for path in (*old, *kept))
    ran = cli("score", cohort, "--results", folder, "--engine", "native")
    assert ran.code == 0, ran.err
    assert not any(path.exists() for path in old)
    assert not old[-1].parent.exists()
    now = everything(folder)
    for path in kept:
        assert now.pop(str(path.relative_to(folder))) == b"half"
    assert now.keys() == before.keys()


def test_pieces_of_a_slide_whose_result_is_there_are_deleted_at_once(folder):
    (result, *_) = sorted(folder.glob("[0-9]*.parquet"))
    piece = left(folder / ".pieces" / result.stem / "0-2048.npz", 0)
    assert sweep(folder) == 1
    assert not piece.exists()
    assert result.exists()


def test_the_youngest_piece_counts(folder):
    piece = left(folder / ".pieces" / RESULT / "0-2048.npz", 0)
    left(piece.with_name("stain.json"), PIECES_S + 60)
    assert sweep(folder) == 0


def test_another_process_may_delete_the_same(folder):
    gone = folder / f".new-{RESULT}-abcd_123.parquet"
    assert delete([gone], folder) == 0


@pytest.mark.parametrize("name", ["none", "run.json"])
def test_a_folder_that_cannot_be_listed_has_no_leftovers(folder, name):
    assert sweep(folder / name) == 0


def test_a_file_that_vanishes_is_as_new(folder):
    assert time.time() - last_change(folder / "gone") < 60
