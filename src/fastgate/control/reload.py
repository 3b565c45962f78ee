"""Reload: load, check, publish - or keep the old configuration and say why.

Owns:      the configuration that is in force, and what the last reload came to.
Called by: control.agent, on SIGHUP and `POST /v1/reload`.
Source:    ECOSYSTEM.md section 3: a bad configuration never replaces a good one.
"""

import asyncio
import logging
import operator
import time
from collections.abc import Awaitable, Callable

from fastgate.config.load import Loaded, load
from fastgate.config.model import Config
from fastgate.config.problems import problem_documents
from fastgate.errors import ControlError

__all__ = ["Reloader"]

_log = logging.getLogger(__name__)

# What sockets, shared memory, streams, logs and caches were made from, and how long the
# supervisor waits: another value needs new ones.
_FIXED = {
    "": (
        *("region", "listen", "tls", "admin", "status", "intake"),
        *("workers", "state_dir", "node"),
    ),
    "regions.": ("names",),
    "revocation.": (
        "bus",
        "capacity",
        "origins",
        "hash_key",
        "old_hash_keys",
        "signing",
        "snapshots_on_bus",
        "snapshot_max_bytes",
        "tls",
        "nats",
        "redis",
        "kafka",
    ),
    "log.": ("file", "sample", "level"),
    "limits.": ("cached_tokens",),
    "timeouts.": ("drain_delay", "drain_timeout"),
}


class Reloader:
    """The one way a configuration changes while the gateway runs.

    config: In force at the start. path: Its file.
    publish: Gives a checked configuration to all processes.
    apply: Makes the agent's own parts follow, after it was published.
    """

    def __init__(
        self,
        *,
        config: Config,
        path: str,
        publish: Callable[[Config], None],
        apply: Callable[[Config], Awaitable[None]],
    ) -> None:
        self.config = config
        self.path = path
        self.counts = {"success": 0, "failure": 0}
        self.last_success_s = time.time()
        self._publish = publish
        self._apply = apply
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> dict[str, object]:
        """Read the file again; returns `result`, `hash` and every problem.

        Raises nothing for a bad file: the old configuration stays in force.
        """
        async with self._one_at_a_time:
            # YAML of thousands of routes takes seconds: off the loop.
            loaded = await asyncio.to_thread(load, self.path)
            outcome = await self._take(loaded)
        self.counts[str(outcome["result"])] += 1
        return outcome

    async def _take(self, loaded: Loaded) -> dict[str, object]:
        problems = problem_documents(loaded.problems)
        config = loaded.config
        if config is None:
            for problem in loaded.errors:
                _log.error("reload refused: %s", problem)
            return self._refused(problems)
        fixed = _fixed_changes(self.config, config)
        if fixed:
            text = f"{', '.join(fixed)}: changes only with a restart"
            _log.error("reload refused: %s", text)
            return self._refused([*problems, {"level": "error", "message": text}])
        try:
            self._publish(config)
        except ControlError as error:
            _log.error("reload refused: %s", error)
            return self._refused([*problems, {"level": "error", "message": str(error)}])
        self.config = config
        self.last_success_s = time.time()
        await self._apply(config)
        _log.info("configuration %s is in force", config.digest())
        return {"result": "success", "hash": config.digest(), "problems": problems}

    def _refused(self, problems: list[dict[str, object]]) -> dict[str, object]:
        return {
            "result": "failure",
            "hash": self.config.digest(),
            "problems": problems,
        }


def _fixed_changes(old: Config, new: Config) -> list[str]:
    return [
        section + name
        for section, names in _FIXED.items()
        for name in names
        if _value(old, section + name) != _value(new, section + name)
    ]


def _value(config: Config, path: str) -> object:
    return operator.attrgetter(path)(config)
