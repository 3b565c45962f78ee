"""The ways in with everything real behind them but the disk: keys, checks, feed, index.

Called by: tests of control.intake, admin.intake and control.set_poller.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from tests import tokens
from tests.control.feed_net import SETTINGS
from tests.feed_fakes import BootClock, FakeBroker, FakeBus, FakeIndex, FakeJournal

from fastgate.control.compact_jws import JwsVerifier
from fastgate.control.entries import Receipt
from fastgate.control.feed import Feed
from fastgate.control.intake import Intake
from fastgate.control.intake_rules import Credential, IntakeRules
from fastgate.control.set_streams import StreamRules
from fastgate.domain.entry import Entry
from fastgate.domain.logout_token import EVENT, LogoutRules
from fastgate.domain.revocation import KeyHasher, Kind
from fastgate.domain.security_event import EventRules, SubjectRules
from fastgate.hotpath.keys import build_keys

ISSUER = "https://login.example.com"
AUDIENCE = "https://gateway.example.com"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
USER = {"format": "iss_sub", "iss": ISSUER, "sub": "bob"}
SUBJECTS = SubjectRules("login", ISSUER, frozenset({"iss_sub"}))
LOGOUTS = LogoutRules(
    alias="login",
    issuer=ISSUER,
    clients=frozenset({"web"}),
    by_user=False,
    algorithms=frozenset({"ES256"}),
    leeway_s=5,
    max_age_s=3600,
)
EVENTS = EventRules(
    alias="login",
    issuer=ISSUER,
    audience=frozenset({AUDIENCE}),
    algorithms=frozenset({"ES256"}),
    leeway_s=5,
    user_events=True,
    subjects=SUBJECTS,
)
RULES = IntakeRules(
    logouts={ISSUER: LOGOUTS},
    events={ISSUER: EVENTS},
    pushed={ISSUER: None},
    users=((Credential("a-token-of-the-issuer"), SUBJECTS),),
    streams=(StreamRules("login", 60.0),),
    region_claims=("region",),
    regions=frozenset({"eu", "us"}),
)


def logout_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a logout token; None removes one."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "web",
        "iat": now,
        "exp": now + 120,
        "jti": "logout-1",
        "sid": "s-1",
        "sub": "bob",
        "events": {EVENT: {}},
    }
    return _changed(claims, changes)


def set_claims(
    event: str = f"{CAEP}session-revoked",
    body: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the claims of a SET; None removes one."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(time.time()),
        "jti": "set-1",
        "sub_id": USER,
        "events": {event: dict(body or {})},
    }
    return _changed(claims, changes)


def _changed(claims: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    claims = claims | dict(changes)
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    claims: dict[str, Any],
    typ: str | None,
    key: tokens.SigningKey | None = None,
    **header: Any,
) -> str:
    """Return a compact JWS; members of the header that are None are left out."""
    key = key or tokens.signing_key()
    head = {"alg": key.alg, "kid": key.kid, "typ": typ} | header
    head = {name: value for name, value in head.items() if value is not None}
    return tokens.encode(head, claims, key).decode()


def logout_token(**changes: Any) -> str:
    """Return a logout token that is in order but for the changes."""
    return signed(logout_claims(**changes), "logout+jwt")


def security_event(*event: Any, **changes: Any) -> str:
    """Return a SET that is in order but for the changes."""
    return signed(set_claims(*event, **changes), "secevent+jwt")


class IntakeWorld:
    """An intake, and what stands behind it.

    asked: Kids that were looked for. lines: The audit log. fault: Raised by `enter`.
    """

    def __init__(self, rules: IntakeRules = RULES) -> None:
        self.index, self.journal = FakeIndex(), FakeJournal("gw")
        self.clock = BootClock()
        self.keys = {"login": build_keys([tokens.signing_key().jwk()], True)}
        self.asked: list[tuple[str, str | None]] = []
        self.lines: list[tuple[str, str, Mapping[str, object]]] = []
        self.alarms: set[tuple[str, str]] = set()
        self.entered: list[Mapping[str, Any]] = []
        self.fault: Exception | None = None
        self.newly: tokens.SigningKey | None = None
        self.feed = self._feed()
        self.intake = Intake(
            rules,
            verifier=JwsVerifier(keys=self.keys.get, asked=self._ask),
            enter=self._enter,
            audit=self._audit,
            lifetimes=lambda: self.feed.settings.lifetimes,
            clock=self.clock,
            alarms=self._alarm,
        )
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.intake.tell = lambda *told: self.told.append(told)

    def _feed(self) -> Feed:
        return Feed(
            region="eu",
            node="gw",
            origins=("eu", "us"),
            standalone=True,
            journal=self.journal,
            bus=FakeBus(FakeBroker(), "eu"),
            writer=self.index,
            clock=self.clock,
            settings=replace(SETTINGS, hash_key=b""),
            alarms=lambda *_: None,
        )

    def publish(self, *keys: tokens.SigningKey, fetched: bool = True) -> None:
        """Set the keys of the issuer."""
        self.keys["login"] = build_keys([key.jwk() for key in keys], fetched)

    async def _ask(self, alias: str, kid: str | None) -> None:
        self.asked.append((alias, kid))
        if self.newly is not None:
            self.publish(self.newly)

    async def _enter(self, asked: Mapping[str, Any]) -> Receipt:
        self.entered.append(asked)
        if self.fault is not None:
            raise self.fault
        members = {k: v for k, v in asked.items() if k not in {"kind", "issuer"}}
        members["home"] = members["home"] or "eu"
        entry = Entry(
            kind=Kind(asked["kind"]), issuer=ISSUER, issuer_alias="login", **members
        )
        return await self.feed.enter(entry)

    def _audit(self, actor: str, action: str, line: Mapping[str, object]) -> None:
        self.lines.append((actor, action, line))

    def _alarm(self, name: str, dependency: str, on: bool) -> None:
        (self.alarms.add if on else self.alarms.discard)((name, dependency))

    def cutoff(self, kind: Kind, value: str) -> int | None:
        """Return from when on tokens of an identifier are good; None: all are."""
        found = self.index.entries.get(KeyHasher(b"", ISSUER).key(kind, value))
        return None if found is None else found[0]

    async def restart(self) -> None:
        """Let go of all that is in memory; the journal stays."""
        await self.feed.stop()
        self.index = FakeIndex()
        self.feed = self._feed()
        await self.feed.start()


@contextlib.asynccontextmanager
async def intake_world(rules: IntakeRules = RULES) -> AsyncIterator[IntakeWorld]:
    """Run one."""
    world = IntakeWorld(rules)
    await world.feed.start()
    try:
        yield world
    finally:
        await world.feed.stop()
