"""Fixtures of the admin room."""

import pytest
from tests.admin.fake_agent import FakeAgent, snapshot


@pytest.fixture
def agent(tmp_path):
    """Return a node whose answers are known."""
    return FakeAgent(snapshot(tmp_path))
