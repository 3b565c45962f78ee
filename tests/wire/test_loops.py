"""The wire tests really run on the loop that their id names."""

import asyncio

import uvloop


async def test_wire_tests_run_on_the_loop_they_name(request):
    """An id that says uvloop is a uvloop; the other is not."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, uvloop.Loop) == ("uvloop" in request.node.name)
