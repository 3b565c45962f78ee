"""A sample of the flips of saved states; `make kill-test` makes 100,000."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_taken_of_a_state_that_was_cut_or_flipped(seed):
    """F14: at every octet, and any bit, of cards and chunks."""
    module = "tests.adversity.snapshot_flips"
    words = ["--flips", "3000", "--seed", str(seed), "--limit", "40"]
    result = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.rstrip().endswith("3000 of them flips: 0 taken")
