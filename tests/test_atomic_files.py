"""What a user asks for is finished or not there, and what was there before is kept."""

import pytest

from qupath_hccmil.atomic_files import atomic_folder, file_name
from qupath_hccmil.errors import WriteError
from tests.no_room import no_file_above


def test_a_folder_is_replaced_when_it_is_finished(tmp_path):
    for content in ("first", "second"):
        with atomic_folder(tmp_path / "new" / "m") as folder:
            (folder / content).touch()
        assert [path.name for path in (tmp_path / "new" / "m").iterdir()] == [content]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m"]


def test_no_room_for_a_folder_leaves_what_was_there(tmp_path):
    with atomic_folder(tmp_path / "m") as folder:
        (folder / "a").write_text("first")
    message = "m: cannot be written: File too large; nothing was changed"
    with pytest.raises(WriteError, match=message), atomic_folder(tmp_path / "m") as folder:  # noqa: SIM117
        with no_file_above(10):
            (folder / "a").write_text("too long for it")
    assert (tmp_path / "m" / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("CON", "_CON"),
        ("aux.png", "_aux.png"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("console", "console"),
        ("LPT", "LPT"),
        ("a:b\\c/d", "a_b_c_d"),
    ],
)
def test_a_part_of_a_file_name_is_no_device_of_windows(name, valid):
    assert file_name(name) == valid
