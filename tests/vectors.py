"""Where the third-party test inputs lie; they are no part of this tree.

FASTGATE_VECTORS names the folder. Without it the tests that need it are skipped; with
FASTGATE_VECTORS_REQUIRED=1 as well (continuous integration) they fail instead.
"""

import os
from pathlib import Path

import pytest


def find_vectors() -> Path:
    """The folder. Raises FileNotFoundError, which says why, when there is none."""
    name = os.environ.get("FASTGATE_VECTORS")
    if not name:
        raise FileNotFoundError("FASTGATE_VECTORS names no folder of test inputs")
    if not (Path(name) / "SOURCES.md").is_file():
        raise FileNotFoundError(f"FASTGATE_VECTORS={name}: no SOURCES.md in it")
    return Path(name)


def vectors_dir() -> Path:
    """The folder, for a test; skips the test without it, or fails where it is required.

    A folder that is named and is not there fails in any case.
    """
    try:
        return find_vectors()
    except FileNotFoundError as error:
        required = os.environ.get("FASTGATE_VECTORS_REQUIRED") == "1"
        if required or os.environ.get("FASTGATE_VECTORS"):
            pytest.fail(str(error))
        pytest.skip(str(error))
