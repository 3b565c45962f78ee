"""SET streams: what each stream said last, and the alarm where one is mute.

Owns:      when each stream was heard and verified, its state, what it brought by event.
Called by: control.intake, with every SET that verified; control.stream_keeper, which
           asks for signs of life; control.agent, each second.
Source:    SSF 1.0 sections 8.1.2 (status) and 8.1.4 (verification); PROTOCOLS.md
           section 7: a stream that is silent, paused or disabled brings no revocations.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastgate.domain.security_event import Heard
from fastgate.ports import Clock

__all__ = ["SetStreams", "StreamRules"]

_NS = 1_000_000_000
# Reason: an answer to a question of which five others were asked since is no news.
_MAX_ASKED = 5
_STOPPED = frozenset({"paused", "disabled"})


@dataclass(frozen=True, slots=True)
class StreamRules:
    """How long one stream may be mute.

    alias: Of the issuer whose `ssf` section it is.
    max_silence_s: Seconds without any SET; 0: for ever.
    """

    alias: str
    max_silence_s: float


@dataclass(slots=True)
class _Stream:
    """One of them; times are CLOCK_BOOTTIME, 0 for never."""

    since_ns: int
    heard_ns: int = 0
    verified_ns: int = 0
    state: str = "unknown"
    id: str = ""
    events: Counter[str] = field(default_factory=Counter)
    asked: OrderedDict[str, None] = field(default_factory=OrderedDict)
    critical: frozenset[str] = frozenset()


class SetStreams:
    """The streams of one node.

    alarms: Called with name, dependency and whether it is on, at every change.
    """

    def __init__(
        self, *, clock: Clock, alarms: Callable[[str, str, bool], None]
    ) -> None:
        self._clock = clock
        self._alarms = alarms
        self._rules: tuple[StreamRules, ...] = ()
        self._streams: dict[str, _Stream] = {}

    def follow(self, rules: Sequence[StreamRules]) -> None:
        """Watch these streams; what is known of one that stays is kept."""
        now_ns = self._clock.boot_ns()
        self._rules = tuple(rules)
        wanted = {each.alias for each in rules}
        for alias in [alias for alias in self._streams if alias not in wanted]:
            del self._streams[alias]
            for name in ("ssf_stream", "ssf_silent"):
                self._alarms(name, alias, False)
        for alias in wanted:
            self._streams.setdefault(alias, _Stream(now_ns))

    def came(self, alias: str, event: str) -> None:
        """Note a SET that verified, by the name of its event."""
        stream = self._streams.get(alias)
        if stream is not None:
            stream.heard_ns = self._clock.boot_ns()
            stream.events[event] += 1
            self._alarms("ssf_silent", alias, False)

    def said(self, alias: str, heard: Heard) -> None:
        """Note what a stream says of itself."""
        stream = self._streams.get(alias)
        if stream is None or not heard.stream:
            return
        if stream.id and heard.stream_id and heard.stream_id != stream.id:
            return  # a second stream of that transmitter
        if heard.stream != "verified":
            self.is_now(alias, heard.stream)
            return
        # What is delivered was not stopped.
        self.is_now(alias, "enabled")
        # One that echoes what another gateway asked is no answer to this one.
        if not heard.echo or heard.echo in stream.asked:
            stream.asked.pop(heard.echo, None)
            stream.verified_ns = self._clock.boot_ns()

    def is_now(self, alias: str, state: str) -> None:
        """Note the state of a stream: `enabled`, `paused` or `disabled`."""
        stream = self._streams.get(alias)
        if stream is not None:
            stream.state = state
            # A stream that its transmitter stopped brings no revocations.
            self._alarms("ssf_stream", alias, state in _STOPPED)

    def known(self, alias: str, stream_id: str, critical: frozenset[str]) -> None:
        """Note which stream is ours, and what its transmitter holds to be critical."""
        stream = self._streams.get(alias)
        if stream is not None:
            stream.id, stream.critical = stream_id, critical

    def asked(self, alias: str, state: str) -> None:
        """Note that a verification was asked for, with a state to be echoed."""
        stream = self._streams.get(alias)
        if stream is not None:
            stream.asked[state] = None
            if len(stream.asked) > _MAX_ASKED:
                stream.asked.popitem(last=False)

    def critical(self, alias: str) -> frozenset[str]:
        """Return the members of subjects that a transmitter holds to be critical."""
        stream = self._streams.get(alias)
        return frozenset() if stream is None else stream.critical

    def watch(self) -> None:
        """Raise the alarm of each stream that is mute for too long."""
        now_ns = self._clock.boot_ns()
        for rules in self._rules:
            stream = self._streams[rules.alias]
            silent_ns = now_ns - max(stream.heard_ns, stream.since_ns)
            mute = 0 < rules.max_silence_s < silent_ns / _NS
            self._alarms("ssf_silent", rules.alias, mute)

    def status(self) -> list[dict[str, Any]]:
        """Return a line a stream: seconds since, None for never; events by name."""
        now_ns = self._clock.boot_ns()

        def ago_s(then_ns: int) -> float | None:
            return round((now_ns - then_ns) / _NS, 1) if then_ns else None

        return [
            {
                "issuer": rules.alias,
                "stream": stream.id or None,
                "state": stream.state,
                "heard_s": ago_s(stream.heard_ns),
                "verified_s": ago_s(stream.verified_ns),
                "max_silence_s": rules.max_silence_s or None,
                "events": dict(sorted(stream.events.items())),
            }
            for rules in self._rules
            for stream in (self._streams[rules.alias],)
        ]
