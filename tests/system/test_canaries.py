"""A real gateway measures its own revocation window all the time."""

import pytest
from tests.system.gateway import Gateway, running, until, world

pytestmark = pytest.mark.system


async def test_canaries_reach_the_decision_of_every_worker(tmp_path):
    """Status has their times by origin, and so has the histogram of the workers."""
    async with world() as here:
        found = here.document(tmp_path)
        found["revocation"]["canary_interval"] = "100ms"
        async with running(Gateway(tmp_path / "eu", found)) as gateway:

            async def told():
                status = await gateway.status()
                origins = status["feed"]["canaries"]["origins"]
                return [o for o in origins.values() if o["count"] >= 10]

            (eu,) = await until(told, "ten canaries were judged")
            assert eu["missed"] == 0
            assert 0 < eu["p50_ms"] < 1000
            counts = await gateway.counts()
            name = "fastgate_revocation_propagation_seconds_bucket"
            judged = counts[f'{name}{{le="+Inf",origin="eu"}}']
            assert judged >= 10


async def test_no_canary_is_entered_where_none_is_wanted(tmp_path):
    """An interval of nothing; the index stays empty."""
    async with world() as here:
        found = here.document(tmp_path)
        found["revocation"]["canary_interval"] = "0s"
        async with running(Gateway(tmp_path / "eu", found)) as gateway:
            status = await gateway.status()
            assert status["feed"]["canaries"]["origins"] == {}
