"""What the system accounts to a process tree, and who holds a connection."""

import os
import socket
import subprocess
import sys

import pytest

from fastgate_bench.machine import (
    account,
    conditions,
    cpu_seconds,
    holder,
    memory_bytes,
    tree,
)

# A parent whose child works, says so, and stays until its input ends.
_PARENT = """
import subprocess, sys
work = "x = 0\\nfor n in range(6_000_000): x += n\\nprint('done', flush=True)\\ninput()"
child = subprocess.Popen([sys.executable, "-c", work], stdin=sys.stdin)
child.wait()
"""


@pytest.fixture
def family():
    """A process that does nothing, with a child that has worked."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"done\n"
        yield parent
        parent.stdin.close()


def test_cpu_of_a_tree_counts_the_children(family):
    """A gateway's work is done by processes that its supervisor started."""
    assert len(tree(family.pid)) == 2
    assert cpu_seconds(family.pid) > 0.05
    assert memory_bytes(family.pid) > 1 << 20


def test_account_names_processes_and_counts_waiting_for_a_core(family):
    """A worker is told from the rest by its name; a full core by what was wanted."""
    found = account(family.pid)
    assert sum(found.cpu_s.values()) == pytest.approx(cpu_seconds(family.pid), abs=0.05)
    assert all(name.startswith("python") for name in found.cpu_s)
    # Running is a part of wanting to; ticks are coarser than what the scheduler counts.
    assert found.wanted_s > 0.05
    assert account(family.pid).at_s > found.at_s


def test_accounts_of_a_process_that_is_gone_are_empty():
    """A gateway that died meanwhile is no traceback."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert cpu_seconds(gone.pid) == 0.0
    assert memory_bytes(gone.pid) == 0


def test_holder_names_the_process_that_accepted():
    """So that a run can have a connection to each worker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            own_port = client.getsockname()[1]
            accepted, _ = listener.accept()
            with accepted:
                assert holder(os.getpid(), port, own_port) == os.getpid()
            assert holder(os.getpid(), port + 1, own_port) == 0


def test_conditions_name_machine_and_versions():
    """A figure without them is worth nothing."""
    found = conditions()
    assert found["cores"] >= 1
    assert found["kernel"]
    assert found["packages"]["cryptography"] != "absent"
