"""Key policy: when an issuer's keys are fetched, and what each answer changes.

Owns:      the state of one issuer: held keys, timers, cool-down, current alarms.
Called by: control.keyring, which does the I/O that this asks for. Pure: time and chance
           are given, so that a day of it runs in a test in no time.
Source:    PROTOCOLS.md section 2; THREATS.md T13, I1-I7, F15, F16.
"""

import enum
import random
import re
from dataclasses import dataclass
from http import HTTPStatus

from fastgate.control.cache_control import read_cache_rules
from fastgate.control.discovery import MetadataError, read_jwks_url
from fastgate.control.held_keys import HeldKeys
from fastgate.control.jwks import KeySet, KeySetError, read_key_set
from fastgate.domain.jwk import PublicJwk
from fastgate.ports import Fetched

__all__ = ["ALARMS", "COOL_DOWN_S", "Job", "KeyPolicy", "KeySource"]

# Source: PROTOCOLS.md section 2.
LEAST_LIFE_S, MOST_LIFE_S = 300.0, 1800.0
COOL_DOWN_S = 30.0
REFRESH_AT = 0.8
# Reason: gateways that started together must not refresh together.
JITTER = 0.1
# Reason: the second fetch that lets a key leave comes after one cool-down, not after a
# whole life: long enough for a lagging node or cache of the issuer to catch up, short
# enough that a withdrawn key is trusted for half a minute more, and still one fetch per
# 30 s (F15).
CONFIRM_AFTER_S = 30.0
# Source: THREATS.md I4.
EMPTY_KEPT_S = 600.0
# With keys there is no hurry and F15's one fetch per 30 s holds; without any, every
# request fails, so the first retries are quick.
RETRY_S, MOST_RETRY_S = 30.0, 60.0
BARE_RETRY_S, MOST_BARE_RETRY_S = 1.0, 30.0
METADATA_LIFE_S, MOST_METADATA_LIFE_S = 3600.0, 86_400.0

# What can hold of an issuer, by its alias.
ALARMS = frozenset(
    {
        "discovery_unavailable",
        "jwks_empty",
        "jwks_keys_refused",
        "jwks_keys_unusable",
        "jwks_unavailable",
    }
)

_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,254}"', re.ASCII)
_ACCEPT = "application/jwk-set+json, application/json"
# Reason: what servers of plain files say; a page in HTML is somebody else's answer.
_MEDIA_TYPES = frozenset(
    {"", "application/json", "text/json", "text/plain", "application/octet-stream"}
)


class Job(enum.Enum):
    """What the policy wants fetched."""

    METADATA = 1
    KEYS = 2


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the keys of an issuer come from.

    alias: Name in the configuration. issuer: Exact `iss`.
    jwks_url: Configured key URL; metadata_url: document that names it. One is given.
    lifetime_s: Life of a set where the endpoint sends no Cache-Control.
    max_stale_s: How long keys serve after the last successful fetch.
    """

    alias: str
    issuer: str
    jwks_url: str | None = None
    metadata_url: str | None = None
    lifetime_s: float = 600.0
    max_stale_s: float = 86_400.0

    @property
    def origin(self) -> str:
        """What must be the same for saved keys to be this source's."""
        return "\n".join((self.issuer, self.jwks_url or "", self.metadata_url or ""))


class KeyPolicy:
    """The state machine of one issuer.

    now_s: CLOCK_BOOTTIME seconds, here and in every method.
    """

    def __init__(self, source: KeySource, rng: random.Random, now_s: float) -> None:
        self.source = source
        self.held = HeldKeys(source.max_stale_s)
        self.jwks_url = source.jwks_url
        self.last_fetch_ok = False
        self.last_error: str | None = None
        self.fetched_s: float | None = None  # of the last successful fetch
        self.said = KeySet()  # the last usable document
        self.empty_since_s: float | None = None
        self.cool_until_s = float("-inf")
        self._rng = rng
        self._etag: str | None = None
        self._keys_due_s = now_s
        self._metadata_due_s = now_s
        self._failures = 0
        self._metadata_failures = 0
        self._metadata_error: str | None = None

    # -- what to do ---------------------------------------------------------------

    def due(self, now_s: float) -> Job | None:
        """Return what has to be fetched now."""
        if self.source.metadata_url is not None and self._metadata_due_s <= now_s:
            return Job.METADATA
        if self.jwks_url is not None and self._keys_due_s <= now_s:
            return Job.KEYS
        return None

    def next_due_s(self) -> float:
        """Return when something has to be done next, CLOCK_BOOTTIME seconds."""
        times = [self.held.next_expiry_s()]
        if self.source.metadata_url is not None:
            times.append(self._metadata_due_s)
        if self.jwks_url is not None:
            times.append(self._keys_due_s)
        return min(times)

    def claim_miss(self, now_s: float) -> bool:
        """Take the one fetch per cool-down that a miss may cause.

        Claimed before the fetch starts and kept whether it succeeds or not: a thousand
        bogus kids cause one fetch. Scheduled refreshes neither claim nor wait for it.
        """
        if self.jwks_url is None or now_s < self.cool_until_s:
            return False
        self.cool_until_s = now_s + COOL_DOWN_S
        return True

    def request_headers(self) -> dict[str, str]:
        """Return the headers of the next fetch of keys."""
        conditional = {} if self._etag is None else {"if-none-match": self._etag}
        return {"accept": _ACCEPT, **conditional}

    @property
    def refresh_due_s(self) -> float:
        """When the next scheduled fetch of keys starts, CLOCK_BOOTTIME seconds."""
        return self._keys_due_s

    def alarms(self) -> frozenset[str]:
        """Return the names of the alarms that hold now."""
        raised = {
            "jwks_unavailable": self.last_error is not None,
            "jwks_empty": self.empty_since_s is not None,
            "jwks_keys_refused": self.said.refused,
            "jwks_keys_unusable": self.said.unusable,
            "discovery_unavailable": self._metadata_error is not None,
        }
        return frozenset(name for name, holds in raised.items() if holds)

    def listed(self) -> list[PublicJwk]:
        """Return the held keys that the newest successful fetch listed.

        Only these are saved: a restart must not lengthen the life of the others.
        """
        return [key.jwk for key in self.held if key.last_seen_s == self.fetched_s]

    @property
    def metadata_error(self) -> str | None:
        """Why the last fetch of the metadata was of no use; None where it was."""
        return self._metadata_error

    # -- what happened ------------------------------------------------------------

    def restore(self, keys: list[PublicJwk], age_s: float, now_s: float) -> None:
        """Begin with keys saved `age_s` ago; they are fetched anew at once."""
        self.held.restore(keys, now_s - age_s)
        self.held.expire(now_s)

    def keys_answered(self, answer: Fetched, now_s: float) -> None:
        """Follow an answer of the key endpoint, whatever it is."""
        try:
            said = self._read(answer)
        except KeySetError as error:
            # Reason: an ETag of a document we refused must not turn it into a 304.
            self._etag = None
            self.keys_failed(error.code, now_s)
            return
        if answer.status == HTTPStatus.OK:
            etag = answer.headers.get("etag", "")
            self._etag = etag if _ETAG.fullmatch(etag) else None
        self.said = said
        self.fetched_s = now_s
        self.last_error = None
        if said.empty:
            self._follow_empty(now_s)
            return
        self.empty_since_s = None
        self.last_fetch_ok = True
        self._failures = 0
        self.held.merge(said, now_s)
        self._keys_due_s = now_s + self._refresh_after_s(answer)

    def keys_failed(self, code: str, now_s: float) -> None:
        """Note a fetch of keys that brought nothing; the keys stay.

        code: Why, stable and safe to show.
        """
        self.last_fetch_ok = False
        self.last_error = code
        self._failures += 1
        self._keys_due_s = now_s + self._retry_after_s()

    def metadata_answered(self, answer: Fetched, now_s: float) -> None:
        """Follow an answer of the metadata endpoint, whatever it is."""
        try:
            url = read_jwks_url(answer, issuer=self.source.issuer)
        except MetadataError as error:
            self.metadata_failed(error.code, now_s)
            return
        self._metadata_error = None
        self._metadata_failures = 0
        told = read_cache_rules(answer.headers)
        life_s = METADATA_LIFE_S if told.max_age_s is None else float(told.max_age_s)
        life_s = _clamp(0 if told.no_store else life_s, MOST_METADATA_LIFE_S)
        self._metadata_due_s = now_s + life_s * self._early()
        if url != self.jwks_url:
            self.jwks_url = url
            self._etag = None
            self._keys_due_s = now_s

    def metadata_failed(self, code: str, now_s: float) -> None:
        """Note a fetch of metadata that brought nothing; a known key URL stays."""
        self._metadata_error = code
        self._metadata_failures += 1
        self._metadata_due_s = now_s + self._backoff_s(
            self._metadata_failures, bare=self.jwks_url is None
        )

    def tick(self, now_s: float) -> bool:
        """Drop keys that were not seen for too long; True where the keys changed."""
        return self.held.expire(now_s)

    def reconfigure(self, source: KeySource, now_s: float) -> None:
        """Go on with another source of the same issuer.

        Keys of the old source serve until the new one has answered, and for ten minutes
        at most: a reload refuses nobody, and nothing outlives its configuration.
        """
        moved = source.origin != self.source.origin
        self.source = source
        self.held.max_stale_s = source.max_stale_s
        if moved:
            self.held.supersede(now_s + EMPTY_KEPT_S)
            self.jwks_url = source.jwks_url
            self._etag = None
            self._metadata_error = None
            self._keys_due_s = self._metadata_due_s = now_s

    # -- how --------------------------------------------------------------------

    def _read(self, answer: Fetched) -> KeySet:
        if answer.status == HTTPStatus.NOT_MODIFIED and self._etag is not None:
            return self.said
        if answer.status != HTTPStatus.OK:
            raise KeySetError(f"status_{answer.status}")
        media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in _MEDIA_TYPES and not media.endswith("+json"):
            raise KeySetError("wrong_type")
        said = read_key_set(answer.body)
        if not said.keys and not said.empty:
            # Reason: keys were published and not one is usable; that is a broken
            # document, not an issuer that withdrew its keys.
            raise KeySetError("no_usable_key")
        return said

    def _follow_empty(self, now_s: float) -> None:
        if self.empty_since_s is None:
            self.empty_since_s = now_s
        honoured = now_s - self.empty_since_s >= EMPTY_KEPT_S
        if honoured:
            self.held.clear()
        # Reason: while the empty set is not believed, an unknown kid is the issuer's
        # trouble (503), not the token's fault.
        self.last_fetch_ok = honoured
        self._failures += 1
        self._keys_due_s = now_s + self._retry_after_s()

    def _refresh_after_s(self, answer: Fetched) -> float:
        told = read_cache_rules(answer.headers)
        life_s = self.source.lifetime_s if told.max_age_s is None else told.max_age_s
        after_s = _clamp(0 if told.no_store else life_s, MOST_LIFE_S) * self._early()
        return min(after_s, CONFIRM_AFTER_S) if self.held.leaving else after_s

    def _early(self) -> float:
        return REFRESH_AT * (1 - JITTER * self._rng.random())

    def _retry_after_s(self) -> float:
        return self._backoff_s(self._failures, bare=not self.held)

    def _backoff_s(self, failures: int, *, bare: bool) -> float:
        first_s, most_s = (
            (BARE_RETRY_S, MOST_BARE_RETRY_S) if bare else (RETRY_S, MOST_RETRY_S)
        )
        doubled_s = first_s * 2.0 ** min(failures - 1, 16)
        return min(doubled_s, most_s) * (1 + JITTER * self._rng.random())


def _clamp(life_s: float, most_s: float) -> float:
    return min(max(life_s, LEAST_LIFE_S), most_s)
