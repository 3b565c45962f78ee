"""A sample of the kills of a running gateway; `make kill-test` makes 200."""

import pytest
from tests.adversity import system_kills

pytestmark = pytest.mark.system


async def test_gateway_keeps_its_promises_when_its_processes_are_killed():
    """SIGKILL of agent and workers under load, at moments of no choosing (F9, F11)."""
    report = await system_kills.run(kills=6, seed=11)
    assert report.violations == []
    assert report.kills.total() == 6
    assert len(report.kills) > 1
    assert report.revoked > 0
