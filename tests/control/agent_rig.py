"""An agent with everything around it faked."""

from types import SimpleNamespace

from tests.fakes import FakeClock
from tests.lane_kit import issuer_profile, public, snapshot_of

from fastgate.control.agent import Agent, AgentParts
from fastgate.control.alarms import Alarms
from fastgate.control.entries import Receipt

NOTE = {"pid": 7, "config": 1, "keys": 0, "cache": {"hits": 1}, "rss_bytes": 9}


class FakeFeed:
    """What the agent asks of the feed."""

    def __init__(self):
        self.entered = []
        self.standalone = False
        self.region = "eu"
        self.origins = [{"origin": "eu", "ready": True, "state": "fresh"}]
        self.running = False

    async def start(self):
        self.running = True

    async def stop(self):
        self.running = False

    async def enter(self, entry, *, wait):
        self.entered.append((entry, wait))
        number = len(self.entered)
        return Receipt(f"e{number}", "us", number, True, True, {})

    def so_far(self, receipt):
        return receipt

    def ready(self):
        return all(line["ready"] for line in self.origins), self.origins

    def status(self):
        return {"origins": [], "connected": True}


class FakeKeyring:
    """What the agent asks of the keyring."""

    def __init__(self):
        self.issuers = [{"alias": "login", "ready": True}]
        self.questions = []
        self.refreshed = []

    async def start(self):
        pass

    async def stop(self):
        pass

    async def asked(self, alias, kid):
        self.questions.append((alias, kid))

    async def refresh(self, issuer, *, wait):
        self.refreshed.append((issuer, wait))
        return {"login": {"ok": True}}

    def status(self):
        return self.issuers


class FakeIndex:
    """An index with upkeep in slices."""

    def __init__(self):
        self.slices = 3
        self.times = []
        self.fault = None

    def maintain(self, now_s, max_slots):
        del max_slots
        self.times.append(now_s)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.slices -= 1
        return self.slices > 0

    def stats(self):
        return {"entries": 2}


class FakeAudit:
    """Lines of the audit log."""

    def __init__(self):
        self.lines = []

    def append(self, actor, action, fields):
        self.lines.append((actor, action, fields))


async def _nothing(*_):
    """Stand for what this agent does not have."""


class Rig:
    """An agent; what it calls is remembered in the parts."""

    def __init__(self, workers=2):
        self.clock = FakeClock()
        self.feed, self.keyring = FakeFeed(), FakeKeyring()
        self.index, self.audit = FakeIndex(), FakeAudit()
        self.alarms = Alarms()
        self.beats, self.followed = [], []
        self.draining_ns = 0
        self.snapshot = snapshot_of(public("http://x"), issuers=(issuer_profile(),))
        columns = SimpleNamespace(
            follow_feed=self.followed.append,
            follow_reloads=self.followed.append,
            follow_intake=lambda counts: None,
        )
        self.reloader = SimpleNamespace(
            counts={"success": 0, "failure": 0},
            last_success_s=1.0,
            config=SimpleNamespace(
                admin_token=None, admin="127.0.0.1:8085", issuers={}
            ),
        )
        self.agent = Agent(
            AgentParts(
                feed=self.feed,
                keyring=self.keyring,
                index=self.index,
                follower=SimpleNamespace(
                    versions=(1, 0),
                    cell=SimpleNamespace(current=self.snapshot),
                    refresh=lambda: None,
                ),
                explainer=None,
                reloader=self.reloader,
                audit=self.audit,
                alarms=self.alarms,
                clock=self.clock,
                columns=lambda: columns,
                ways=SimpleNamespace(
                    intake=SimpleNamespace(counts={}),
                    follow=_nothing,
                    stop=_nothing,
                    watch=lambda: None,
                    status=lambda: {"intake": {}, "status_lists": []},
                ),
                page=lambda accept: (accept.encode(), "text/plain"),
                draining_since_ns=lambda: self.draining_ns,
                beat=self.beats.append,
                commit="abc",
            ),
            workers=workers,
        )

    def note(self, slot, **changes):
        self.agent.noted(slot, "worker", NOTE | changes)

    def failing(self):
        """Names of the checks of readiness that fail."""
        return [check["name"] for check in self.agent.ready()[1] if not check["ok"]]

    async def enter(self, **asked):
        request = {"kind": "sid", "issuer": "login", "value": "s-1"} | asked
        receipt = await self.agent.enter(request, wait="local")
        return receipt, self.feed.entered[-1][0]
