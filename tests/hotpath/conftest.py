"""Tests of the relay send every message to it, plain ones too."""

import pytest
from tests import lane_kit


@pytest.fixture(autouse=True)
def _general_lane(monkeypatch):
    monkeypatch.setattr(lane_kit, "LANE", "general")
