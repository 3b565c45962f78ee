"""Accounts: sessions and tokens of the users whose home is one region.

Owns:      sessions, codes, refresh tokens and access tokens of one region; no other
           region has them. Pure: the time is an argument, and nothing is sent anywhere.
Called by: demo.identity.
Source:    RFC 6749 sections 4.1 and 6, RFC 7636 (PKCE), RFC 9700 section 4.14
           (rotation of refresh tokens).
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

__all__ = [
    "ACCESS_LIFE_S",
    "Access",
    "Accounts",
    "GrantError",
    "Session",
    "challenge_of",
]

ACCESS_LIFE_S: Final = 300
_CODE_LIFE_S: Final = 60
_REFRESH_LIFE_S: Final = 3600
# Reason: an answer that was lost on the way may be fetched again for this long.
_GRACE_S: Final = 30.0
# Reason: a demo has a handful; a flood of requests must not fill memory.
_MOST_KEPT: Final = 20_000

_Item = TypeVar("_Item")


class GrantError(Exception):
    """A code or refresh token is not good (any more): `invalid_grant`."""


class _Shelf(OrderedDict[str, _Item], Generic[_Item]):
    """A bounded store; the oldest entry leaves first."""

    def put(self, key: str, item: _Item) -> None:
        self[key] = item
        while len(self) > _MOST_KEPT:
            self.popitem(last=False)


@dataclass(slots=True, eq=False)
class Session:
    """One sign-in of a user at one client.

    refresh: Id of the newest refresh token; the others of the family are used.
    """

    sid: str
    user: str
    client_id: str
    scope: str
    ended: bool = False
    refresh: str = ""


@dataclass(slots=True, eq=False)
class Access:
    """An access token. jti: Its id. expires_s: Seconds since 1970."""

    jti: str
    session: Session
    issued_s: int
    expires_s: int
    revoked: bool = False

    def is_active(self, now_s: float) -> bool:
        """Tell whether it may be used."""
        return not (self.revoked or self.session.ended) and now_s < self.expires_s


@dataclass(slots=True, eq=False)
class _Code:
    session: Session
    challenge: str
    redirect_uri: str
    expires_s: float
    used: bool = False


@dataclass(slots=True, eq=False)
class _Refresh:
    session: Session
    expires_s: float
    used_s: float | None = field(default=None)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _new_id(prefix: str) -> str:
    return f"{prefix}${secrets.token_urlsafe(18)}"


class Accounts:
    """What one region's identity provider remembers.

    now_s: In every method: wall clock, seconds since 1970.
    """

    def __init__(self) -> None:
        self._signed_in: _Shelf[str] = _Shelf()
        self._sessions: _Shelf[Session] = _Shelf()
        self._codes: _Shelf[_Code] = _Shelf()
        self._refreshes: _Shelf[_Refresh] = _Shelf()
        self._accesses: _Shelf[Access] = _Shelf()
        self._handles: _Shelf[str] = _Shelf()

    def sign_in(self, user: str) -> str:
        """Remember a browser; returns what its cookie holds."""
        browser = secrets.token_urlsafe(18)
        self._signed_in.put(browser, user)
        return browser

    def user_of(self, browser: str | None) -> str | None:
        """Return who signed in with that browser."""
        return None if browser is None else self._signed_in.get(browser)

    def sign_out(self, browser: str | None) -> None:
        """Forget a browser."""
        self._signed_in.pop(browser or "", None)

    def code(
        self,
        user: str,
        client_id: str,
        *,
        scope: str,
        challenge: str,
        redirect_uri: str,
        now_s: float,
    ) -> str:
        """Begin a session and return the id of its authorization code."""
        session = Session(_new_id("s"), user, client_id, scope)
        self._sessions.put(session.sid, session)
        code = _new_id("c")
        expires_s = now_s + _CODE_LIFE_S
        self._codes.put(code, _Code(session, challenge, redirect_uri, expires_s))
        return code

    def redeem(
        self,
        code: str,
        client_id: str,
        *,
        verifier: str,
        redirect_uri: str,
        now_s: float,
    ) -> Session:
        """Return the session of a code. Raises GrantError; a second use ends it."""
        known = self._codes.get(code)
        if known is None or known.session.client_id != client_id:
            raise GrantError("the code is unknown")
        if known.used:
            # Source: RFC 6749 section 4.1.2.
            known.session.ended = True
            raise GrantError("the code was used before")
        if now_s >= known.expires_s or redirect_uri != known.redirect_uri:
            raise GrantError("the code does not fit")
        if not hmac.compare_digest(challenge_of(verifier), known.challenge):
            raise GrantError("the verifier does not fit")
        known.used = True
        return known.session

    def refresh_token(self, session: Session, now_s: float) -> str:
        """Return the id of a new refresh token, the session's newest."""
        token = _new_id("r")
        self._refreshes.put(token, _Refresh(session, now_s + _REFRESH_LIFE_S))
        session.refresh = token
        return token

    def rotate(self, token: str, client_id: str, now_s: float) -> tuple[Session, str]:
        """Return session and next refresh token for a refresh token.

        A used one still answers with the newest for 30 s, for a client that lost the
        answer; after that its use is theft and ends the session.
        Raises GrantError.
        """
        known = self._refreshes.get(token)
        if known is None or known.session.client_id != client_id:
            raise GrantError("the refresh token is unknown")
        session = known.session
        if session.ended or now_s >= known.expires_s:
            raise GrantError("the session has ended")
        if known.used_s is None:
            known.used_s = now_s
            return session, self.refresh_token(session, now_s)
        if now_s - known.used_s >= _GRACE_S:
            session.ended = True
            raise GrantError("the refresh token was used before")
        return session, session.refresh

    def session_of_refresh(self, token: str) -> Session | None:
        """Return the session that a refresh token belongs to."""
        known = self._refreshes.get(token)
        return None if known is None else known.session

    def access(self, session: Session, now_s: float) -> Access:
        """Return a new access token of a session."""
        issued_s = int(now_s)
        access = Access(_new_id("P"), session, issued_s, issued_s + ACCESS_LIFE_S)
        self._accesses.put(access.jti, access)
        return access

    def handle(self, access: Access) -> str:
        """Return the opaque text that stands for an access token."""
        handle = secrets.token_urlsafe(32)
        self._handles.put(handle, access.jti)
        return handle

    def find_handle(self, handle: str) -> Access | None:
        """Return the access token that an opaque text stands for."""
        return self.find(self._handles.get(handle, ""))

    def find(self, jti: str) -> Access | None:
        """Return an access token by its id."""
        return self._accesses.get(jti)

    def end(self, sid: str) -> bool:
        """End a session and with it all its tokens; False where it is unknown."""
        session = self._sessions.get(sid)
        if session is None:
            return False
        session.ended = True
        return True
