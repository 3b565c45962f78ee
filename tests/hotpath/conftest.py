"""What the tests of the hot path share; those of the relay get plain messages too."""

import pytest
from tests import lane_kit
from tests.hotpath.gates import World


@pytest.fixture(autouse=True)
def _general_lane(monkeypatch):
    monkeypatch.setattr(lane_kit, "LANE", "general")


@pytest.fixture(params=["compiled", "uncompiled"])
def world(request):
    """A gate over real parts: as compiled for the product, and as plain Python."""
    return World(request.param)
