"""`bench peers` from start to stages, with two lines of the comparison."""

import pytest

from fastgate_bench import peers
from fastgate_bench.comparison import MEASUREMENTS
from fastgate_bench.options import Options
from fastgate_bench.report import page

pytestmark = pytest.mark.system
LINES = [one for one in MEASUREMENTS if one.name in {"fastgate-seen", "fastgate-fresh"}]


async def test_run_measures_what_is_there_and_names_what_is_not(monkeypatch):
    """Each line has a figure or the reason why it has none; absent is not failed."""
    absent = next(one for one in MEASUREMENTS if one.name == "haproxy-plain")
    lines = [*LINES, absent]
    monkeypatch.setattr(peers, "MEASUREMENTS", lines)
    monkeypatch.setattr(
        peers, "SUBJECTS", {one.subject.name: one.subject for one in lines}
    )
    monkeypatch.setattr(
        "fastgate_bench.gateways.find_program",
        lambda name: "" if name == "haproxy" else name,
    )
    steps = []
    options = Options(quick=True, seconds=0.3, rounds=2)
    measured = await peers.run(options, lambda name, share: steps.append(share))
    stages = {stage.name: stage for stage in measured.stages}
    assert stages["verify"].values["p50"] > 0
    assert stages["haproxy-plain"].is_absent
    assert "apt-get install haproxy" in stages["haproxy-plain"].missing
    for name in ("fastgate-seen", "fastgate-fresh"):
        stage = stages[name]
        if stage.missing:  # on a busy machine the load may not fill a gateway
            assert "busy" in stage.missing or "its core" in stage.missing
        else:
            assert 0 < stage.values["workers"] <= stage.values["cpu"]
    assert stages["fastgate-background"].values["cpu"] >= 0
    assert measured.conditions["revoked_ids"].startswith("1000, ")
    assert steps == sorted(steps)
    assert 0 <= steps[0] <= steps[-1] <= 1
    document = {
        "name": "peers",
        "ok": True,
        "figures": [],
        "machine": {},
        "commit": "",
        "conditions": measured.conditions,
        "notes": measured.notes,
    }
    assert "CPU per request against peers" in page(document, measured.charts, "t")
