"""Marks of tests that kill Dask workers."""

import sys

import pytest

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the faults are signals"),
    # what Dask itself leaves open when processes are killed
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
