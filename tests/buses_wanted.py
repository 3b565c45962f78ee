"""Whether a test may be skipped where a bus's server is not installed."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where all buses are required (as in CI)."""
    if os.environ.get("FASTGATE_BUSES_REQUIRED") == "1":
        pytest.fail(f"{what}, and FASTGATE_BUSES_REQUIRED is 1")
    pytest.skip(what)
