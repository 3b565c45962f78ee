"""A sample of the kills of the revocation index; `make kill-test` makes 10,000."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_index_gives_no_false_answer_when_its_processes_are_killed(seed):
    """SIGKILL at any moment, of the writer or of the reader (F10, F11)."""
    # A process of its own: the children are forked from one without threads.
    module = "tests.adversity.index_kills"
    result = subprocess.run(
        [sys.executable, "-m", module, "--kills", "100", "--seed", str(seed)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "100 kills" in result.stdout
    assert result.stdout.rstrip().endswith(": 0 false answers")
