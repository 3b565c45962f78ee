"""Intake rules: what of the configuration the ways in go by.

Owns:      nothing; made anew from each configuration.
Called by: wiring and reloads, for control.intake and control.set_poller.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastgate.config.issuers import Issuer
from fastgate.config.model import Config
from fastgate.config.values import Secret
from fastgate.config.ways_in import Logout, LogoutBy, Ssf, Stream
from fastgate.control.set_streams import StreamRules
from fastgate.control.ssf_metadata import metadata_url
from fastgate.control.status_lists import StatusListRules
from fastgate.control.stream_keeper import KeeperRules
from fastgate.domain.logout_token import LogoutRules
from fastgate.domain.security_event import EventRules, SubjectRules, wanted_events
from fastgate.domain.tapped_token import TappedRules

__all__ = [
    "Credential",
    "IntakeRules",
    "PollRules",
    "intake_rules",
    "status_list_rules",
]


class Credential:
    """A secret that callers must know; compared so that time tells nothing of it."""

    __slots__ = ("_digest",)

    def __init__(self, secret: str) -> None:
        self._digest = _digest(secret)

    def matches(self, given: str | None) -> bool:
        """Tell whether it was given."""
        return hmac.compare_digest(_digest(given or ""), self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credential) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)


def _digest(text: str) -> bytes:
    # Hashed first, so that not even the length shows.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class PollRules:
    """How one stream is polled.

    alias: Of the issuer whose `ssf` section it is. wait_s, every_s: Seconds.
    authorization: Header value, None for none.
    """

    alias: str
    url: str
    authorization: str | None = field(repr=False)
    wait_s: float
    every_s: float
    events: int


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """Everything that one configuration says about the ways in.

    logouts, events: By exact `iss`. pushed: Credential of pushes by the same, None
        where the signature alone is asked for; an `iss` that is absent may not push.
    users: Global Token Revocation: who may end whose users.
    polls: Streams to be polled. streams: All of them. keepers: Those looked after.
    taps: By alias, whose tokens pass by tapped routes.
    region_claims, regions: How a claim names the user's home.
    """

    logouts: Mapping[str, LogoutRules] = field(default_factory=dict)
    events: Mapping[str, EventRules] = field(default_factory=dict)
    pushed: Mapping[str, Credential | None] = field(default_factory=dict)
    users: tuple[tuple[Credential, SubjectRules], ...] = ()
    polls: tuple[PollRules, ...] = ()
    streams: tuple[StreamRules, ...] = ()
    keepers: tuple[KeeperRules, ...] = ()
    taps: Mapping[str, TappedRules] = field(default_factory=dict)
    region_claims: tuple[str, ...] = ()
    regions: frozenset[str] = frozenset()


def intake_rules(config: Config) -> IntakeRules:
    """Return the rules of a configuration that `config.load` accepted."""
    logouts: dict[str, LogoutRules] = {}
    events: dict[str, EventRules] = {}
    pushed: dict[str, Credential | None] = {}
    users: list[tuple[Credential, SubjectRules]] = []
    polls: list[PollRules] = []
    streams: list[StreamRules] = []
    keepers: list[KeeperRules] = []
    for alias, issuer in config.issuers.items():
        if issuer.logout is not None:
            logouts[issuer.issuer] = _logout(config, alias, issuer, issuer.logout)
        if issuer.global_revocation is not None:
            own = issuer.global_revocation
            token = Credential(own.token.reveal())
            users.append((token, _subjects(alias, issuer, own.subjects)))
        if issuer.ssf is None:
            continue
        rules = _events(config, alias, issuer, issuer.ssf)
        events[rules.issuer] = rules
        silence = issuer.ssf.max_silence
        streams.append(StreamRules(alias, silence.total_seconds() if silence else 0.0))
        if issuer.ssf.stream is not None:
            keepers.append(_keeper(rules, issuer.ssf, issuer.ssf.stream))
        if issuer.ssf.push:
            secret = issuer.ssf.authorization
            pushed[rules.issuer] = Credential(secret.reveal()) if secret else None
        if issuer.ssf.poll is not None:
            poll = issuer.ssf.poll
            polls.append(
                PollRules(
                    alias=alias,
                    url=poll.url,
                    authorization=_revealed(poll.authorization),
                    wait_s=poll.wait.total_seconds(),
                    every_s=poll.every.total_seconds(),
                    events=poll.events,
                )
            )
    return IntakeRules(
        logouts=logouts,
        events=events,
        pushed=pushed,
        users=tuple(users),
        polls=tuple(polls),
        streams=tuple(streams),
        keepers=tuple(keepers),
        taps=_taps(config),
        region_claims=config.regions.claims,
        regions=frozenset(config.regions.names),
    )


def status_list_rules(config: Config) -> tuple[StatusListRules, ...]:
    """Return which status lists a configuration wants kept."""
    return tuple(
        StatusListRules(
            alias=alias,
            issuer=issuer.issuer,
            hosts=frozenset(issuer.status_list.hosts),
            lists=issuer.status_list.lists,
            aggregation=issuer.status_list.aggregation,
            metadata=issuer.metadata_url if issuer.status_list.discover else None,
            algorithms=_algorithms(issuer.status_list.algorithms or issuer.algorithms),
            leeway_s=int(issuer.leeway.total_seconds()),
        )
        for alias, issuer in config.issuers.items()
        if issuer.status_list is not None
    )


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _logout(config: Config, alias: str, issuer: Issuer, own: Logout) -> LogoutRules:
    return LogoutRules(
        alias=alias,
        issuer=issuer.issuer,
        clients=frozenset(own.clients),
        by_user=own.by is LogoutBy.SUB,
        algorithms=_algorithms(own.algorithms or issuer.algorithms),
        leeway_s=int(issuer.leeway.total_seconds()),
        # An event is kept at least as long, and with it the id that a replay meets.
        max_age_s=int(config.revocation.max_token_lifetime.total_seconds()),
    )


def _events(config: Config, alias: str, issuer: Issuer, own: Ssf) -> EventRules:
    about = own.revokes or alias
    return EventRules(
        alias=alias,
        issuer=own.issuer or issuer.issuer,
        audience=frozenset(own.audience),
        algorithms=_algorithms(own.algorithms or issuer.algorithms),
        leeway_s=int(issuer.leeway.total_seconds()),
        user_events=own.user_events,
        subjects=_subjects(about, config.issuers[about], own.subjects),
        critical=frozenset(own.critical_subjects),
    )


def _keeper(rules: EventRules, own: Ssf, stream: Stream) -> KeeperRules:
    return KeeperRules(
        alias=rules.alias,
        issuer=rules.issuer,
        metadata=stream.metadata or metadata_url(rules.issuer),
        authorization=stream.authorization.reveal(),
        audience=rules.audience,
        receiver=stream.receiver,
        delivered=_revealed(own.authorization),
        create=stream.create,
        events=wanted_events(rules),
        every_s=stream.verify.total_seconds(),
    )


def _taps(config: Config) -> dict[str, TappedRules]:
    tapped = {route.tap.issuer for route in config.routes if route.tap is not None}
    return {
        alias: TappedRules(
            alias=alias,
            issuer=issuer.issuer,
            algorithms=_algorithms(issuer.algorithms),
            leeway_s=int(issuer.leeway.total_seconds()),
            grant_claims=issuer.grant_claims,
        )
        for alias, issuer in config.issuers.items()
        if alias in tapped
    }


def _subjects(alias: str, issuer: Issuer, formats: tuple[str, ...]) -> SubjectRules:
    return SubjectRules(alias, issuer.issuer, frozenset(map(str, formats)))


def _algorithms(names: tuple[str, ...]) -> frozenset[str]:
    # RFC 9864 names EdDSA over Ed25519 by its curve: one algorithm, two spellings.
    named = frozenset(names)
    return named | {"Ed25519"} if "EdDSA" in named else named
