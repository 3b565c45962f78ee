"""Reload: a good file replaces, a bad one changes nothing, and each is counted."""

import asyncio

import pytest
from tests.config.documents import BASE, changed, load_text

from fastgate.control.reload import Reloader
from fastgate.errors import ControlError

PUBLIC = "  - {path: /public/, service: orders, token: none}\n"


class Rig:
    """A reloader over a file, with what it published and applied."""

    def __init__(self, folder) -> None:
        self.path = folder / "fastgate.yaml"
        config = load_text(folder, BASE).require()
        self.published = []
        self.applied = []
        self.fault = None
        self.reloader = Reloader(
            config=config, path=str(self.path), publish=self.publish, apply=self.apply
        )
        self.before = config

    def publish(self, config):
        if self.fault is not None:
            raise self.fault
        self.published.append(config)

    async def apply(self, config):
        # Whoever applies finds it in force already.
        assert self.reloader.config is config
        self.applied.append(config)

    async def reload(self, text):
        self.path.write_text(text, "utf-8")
        return await self.reloader.reload()

    def unchanged(self):
        """Nothing of the old configuration moved."""
        return self.reloader.config is self.before and not (
            self.published or self.applied
        )


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


async def test_good_file_is_published_then_applied(rig):
    """Workers have it first; then the agent's own parts follow."""
    since = rig.reloader.last_success_s
    outcome = await rig.reload(BASE + PUBLIC)
    assert outcome["result"] == "success"
    (config,) = rig.published
    assert rig.applied == [config]
    assert outcome["hash"] == config.digest() != rig.before.digest()
    assert len(config.routes) == 2
    assert rig.reloader.counts == {"success": 1, "failure": 0}
    assert rig.reloader.last_success_s >= since


@pytest.mark.parametrize(
    "text",
    [
        "routes: [",
        "",
        changed("default: eu", "default: mars"),
        BASE + "routs: []\n",
        "\x00",
    ],
    ids=["syntax", "empty", "meaning", "unknown key", "binary"],
)
async def test_bad_file_changes_nothing_and_every_problem_is_told(rig, text):
    """The old configuration stays in force, and says which one it is."""
    outcome = await rig.reload(text)
    assert outcome["result"] == "failure"
    assert outcome["hash"] == rig.before.digest()
    assert any(problem["level"] == "error" for problem in outcome["problems"])
    assert rig.unchanged()
    assert rig.reloader.counts == {"success": 0, "failure": 1}


async def test_file_that_is_gone_is_a_failure_like_any_other(rig):
    """A deployment that is half done must not take the gateway down."""
    rig.path.unlink()
    outcome = await rig.reloader.reload()
    assert outcome["result"] == "failure"
    assert rig.unchanged()


KEYS = f"revocation: {{hash_key: {'n' * 16}, old_hash_keys: [{'o' * 16}]}}\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("region", changed("region: eu\n", "region: us\n")),
        ("listen", BASE + "listen: 127.0.0.1:9999\n"),
        ("admin", BASE + "admin: 127.0.0.1:9998\n"),
        ("workers", BASE + "workers: 3\n"),
        ("state_dir", BASE + "state_dir: /tmp/other\n"),
        ("node", BASE + "node: other\n"),
        ("regions.names", changed("names: [eu, us]", "names: [eu, us, ap]")),
        ("revocation.capacity", BASE + "revocation: {capacity: 5000}\n"),
        ("revocation.hash_key", BASE + "revocation: {hash_key: 0123456789abcdef}\n"),
        (
            "revocation.hash_key, revocation.old_hash_keys",
            BASE + KEYS,
        ),
        ("log.sample", BASE + "log: {sample: 0.5}\n"),
        ("log.file", BASE + "log: {file: /tmp/access.log}\n"),
        ("limits.cached_tokens", BASE + "limits: {cached_tokens: 100}\n"),
        ("timeouts.drain_timeout", BASE + "timeouts: {drain_timeout: 1s}\n"),
    ],
)
async def test_change_that_needs_a_restart_is_refused_by_name(rig, name, text):
    """What was made before the first fork is not accepted and then not served."""
    outcome = await rig.reload(text)
    assert outcome["result"] == "failure"
    assert outcome["problems"][-1] == {
        "level": "error",
        "message": f"{name}: changes only with a restart",
    }
    assert rig.unchanged()


async def test_state_on_the_bus_changes_only_with_a_restart(rig):
    """The bus's connection and its bounds were made before the first fork."""
    rules = "bus: 'nats://127.0.0.1:4222', hash_key: 0123456789abcdef"
    more = "snapshots_on_bus: false, snapshot_max_bytes: 1MiB"
    outcome = await rig.reload(BASE + f"revocation: {{{rules}, {more}}}\n")
    assert outcome["result"] == "failure"
    message = outcome["problems"][-1]["message"]
    assert "revocation.snapshots_on_bus, revocation.snapshot_max_bytes" in message
    assert rig.unchanged()


async def test_document_that_does_not_fit_is_a_failure(rig):
    """The shared segment has a size; what is larger stays out as a whole."""
    rig.fault = ControlError("the document is too large")
    outcome = await rig.reload(BASE + PUBLIC)
    assert outcome["result"] == "failure"
    assert outcome["problems"][-1]["message"] == "the document is too large"
    assert rig.unchanged()


async def test_reloads_run_one_after_the_other(rig):
    """A signal and the admin API at once do not mix two files."""
    rig.path.write_text(BASE + PUBLIC, "utf-8")
    outcomes = await asyncio.gather(*(rig.reloader.reload() for _ in range(3)))
    assert {outcome["result"] for outcome in outcomes} == {"success"}
    assert rig.applied == rig.published
    assert rig.reloader.counts["success"] == len(rig.published) == 3
