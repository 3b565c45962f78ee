"""Wire tests run on both event loops and through both lanes.

Workers run uvloop, and asyncio must do. Plain requests stay in the compiled lane; with
"general" every message goes to aiohttp, so that each rule is seen to hold in both.
"""

import asyncio

import pytest
import uvloop
from tests import lane_kit


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True, params=["compiled", "general"])
def lane(request, monkeypatch):
    """Serve plain requests in this lane."""
    monkeypatch.setattr(lane_kit, "LANE", request.param)
    return request.param
