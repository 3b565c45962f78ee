"""Key status: one issuer's keys as workers, operators and dashboards see them.

Owns:      nothing; reads a key policy.
Called by: control.keyring.
"""

from fastgate.control.held_keys import HeldKey
from fastgate.control.key_policy import KeyPolicy
from fastgate.control.keys_document import PublishedKeys
from fastgate.domain import base64url

__all__ = ["outcome_of", "published_of", "status_of"]


def published_of(policy: KeyPolicy, *, now_s: float, wall_s: float) -> PublishedKeys:
    """Return what workers are told.

    now_s: CLOCK_BOOTTIME seconds. wall_s: Wall time of the same moment, seconds.
    """
    fetched_s = policy.fetched_s
    return PublishedKeys(
        jwks=tuple(jwk.members() for jwk in policy.held.public()),
        last_fetch_ok=policy.last_fetch_ok,
        fetched_at=0 if fetched_s is None else int(wall_s - (now_s - fetched_s)),
        issuer=policy.source.issuer,
    )


def outcome_of(policy: KeyPolicy) -> dict[str, object]:
    """Return what the operator who asked for a fetch wants to know."""
    return {
        "ok": policy.last_fetch_ok,
        "error": policy.last_error or policy.metadata_error,
        "kids": [key.jwk.kid for key in policy.held],
    }


def status_of(policy: KeyPolicy, *, now_s: float, wall_s: float) -> dict[str, object]:
    """Return one item of `keys` in the status; times are wall seconds, ages seconds."""
    fetched_s = policy.fetched_s
    newest_s = max((key.last_seen_s for key in policy.held), default=None)
    return {
        "alias": policy.source.alias,
        "issuer": policy.source.issuer,
        "jwks_url": policy.jwks_url,
        "metadata_url": policy.source.metadata_url,
        "ready": bool(policy.held),
        "last_fetch_ok": policy.last_fetch_ok,
        "last_error": policy.last_error,
        "discovery_error": policy.metadata_error,
        "source": _source(newest_s, fetched_s),
        "age_s": None if newest_s is None else round(now_s - newest_s, 3),
        "next_refresh_s": _until(policy, now_s),
        "cool_down_s": round(max(policy.cool_until_s - now_s, 0.0), 3),
        "alarms": sorted(policy.alarms()),
        "keys": [_key(key, wall_s - now_s) for key in policy.held],
        "dropped": [
            {"position": each.position, "kid": each.kid, "why": each.flaw.value}
            for each in policy.said.dropped
        ],
    }


def _source(newest_s: float | None, fetched_s: float | None) -> str:
    if newest_s is None:
        return "none"
    return "disk" if fetched_s is None else "issuer"


def _until(policy: KeyPolicy, now_s: float) -> float | None:
    if policy.jwks_url is None:
        return None
    return round(max(policy.refresh_due_s - now_s, 0.0), 3)


def _key(key: HeldKey, to_wall_s: float) -> dict[str, object]:
    return {
        "kid": key.jwk.kid,
        "thumbprint": base64url.encode(key.jwk.thumbprint),
        "kty": key.jwk.kty,
        "algorithms": sorted(key.jwk.algorithms),
        "first_seen": int(key.first_seen_s + to_wall_s),
        "last_seen": int(key.last_seen_s + to_wall_s),
        "state": "leaving" if key.absences else "current",
    }
