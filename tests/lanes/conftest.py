"""Tests of both lanes run on uvloop, as workers do; the wire tests try asyncio, too."""

import uvloop


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}
