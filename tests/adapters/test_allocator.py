"""The allocator: pieces of a body that were freed are used again."""

import platform
import subprocess
import sys

import pytest

PIECES = """
import resource, sys
from fastgate.adapters.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def relay():
    return [bytes(256_000) for _ in range(8)]
relay()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    relay()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PIECES, how],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="mallopt is the GNU C library's"
)
def test_pieces_of_a_body_are_not_given_back_to_the_kernel():
    """Without the setting each round faults in many of its pages anew."""
    rounds = 50
    assert faults("default") > 100 * rounds
    assert faults("kept") < 20 * rounds
