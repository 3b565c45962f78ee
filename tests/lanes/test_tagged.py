"""No answer is ever another request's (T24, F20); `make tagged-test` asks a million."""

import pytest
from tests.lanes.tagged import run


@pytest.mark.timeout(120)
async def test_lanes_mix_no_answers_on_connections_that_break():
    """Fifteen thousand tagged requests over connections that end in every way."""
    count = await run(15_000, seed=7)
    assert (count.mismatched, count.lost) == (0, 0)
    assert count.answered > 5_000
