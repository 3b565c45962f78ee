"""Tokens: what the demo's issuer hands out, and how it knows its own again.

Owns:      the claims of each kind of token.
Called by: demo.identity and demo.front.
Source:    RFC 9068 (JWT access tokens), OpenID Connect Core section 2 (ID tokens);
           PROTOCOLS.md section 12 (wrapped tokens).

A wrapped token is a JWT that says nothing of the user but the home region, so that any
gateway can route a message that carries it; what it stands for is known only there.
"""

import base64
import binascii
import hmac
from typing import Any, Final

from fastgate.demo.accounts import ACCESS_LIFE_S, Access, Accounts, GrantError, Session
from fastgate.demo.signing import IssuerKeys
from fastgate.demo.world import AUDIENCE, GATEWAY_CLIENT, ISSUER

__all__ = ["Credentials", "Minter"]

_WRAP_LIFE_S: Final = 3600


class Minter:
    """Makes the tokens of one region."""

    def __init__(self, region: str, keys: IssuerKeys, accounts: Accounts) -> None:
        self._region = region
        self._keys = keys
        self._accounts = accounts

    def answer(
        self, session: Session, refresh: str, kind: str, now_s: float
    ) -> dict[str, Any]:
        """Return the answer of a token endpoint (RFC 6749 section 5.1).

        refresh: Id of the refresh token. kind: Of the access token: "jwt", "opaque"
        or "wrapped".
        """
        access = self._accounts.access(session, now_s)
        if kind == "jwt":
            token = self.jwt(access)
        elif kind == "opaque":
            token = self._accounts.handle(access)
        else:
            token = self.wrap(access.jti, session.client_id, now_s)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": ACCESS_LIFE_S,
            "scope": session.scope,
            "refresh_token": self.wrap(refresh, session.client_id, now_s),
            "id_token": self._id_token(session, now_s),
        }

    def claims(self, access: Access) -> dict[str, Any]:
        """Return what an access token says (RFC 9068 section 2.2)."""
        session = access.session
        return {
            "iss": ISSUER,
            "sub": session.user,
            "aud": AUDIENCE,
            "exp": access.expires_s,
            "iat": access.issued_s,
            "jti": access.jti,
            "sid": session.sid,
            "client_id": session.client_id,
            "scope": session.scope,
            "region": self._region,
        }

    def jwt(self, access: Access) -> str:
        """Return an access token that says everything itself."""
        return self._keys.token(self.claims(access), "at+jwt")

    def wrap(self, id_: str, client_id: str, now_s: float) -> str:
        """Return a token that names the home region and an id known only there."""
        claims = {
            "iss": ISSUER,
            "azp": client_id,
            "jti": id_,
            "iat": int(now_s),
            "exp": int(now_s) + _WRAP_LIFE_S,
            "region": self._region,
        }
        return self._keys.token(claims, None)

    def unwrap(self, token: str) -> str:
        """Return the id in a wrapped token. Raises GrantError: not ours."""
        claims = self._keys.read(token)
        if claims is None or "aud" in claims:
            raise GrantError("not a token of this issuer")
        return str(claims["jti"])

    def find(self, token: str) -> Access | None:
        """Return the access token of a JWT, wrapped or whole."""
        claims = self._keys.read(token)
        return None if claims is None else self._accounts.find(str(claims.get("jti")))

    def session_of_hint(self, token: str) -> str | None:
        """Return the `sid` of an ID token of ours, expired or not."""
        claims = self._keys.read(token)
        return None if claims is None else claims.get("sid")

    def _id_token(self, session: Session, now_s: float) -> str:
        claims = {
            "iss": ISSUER,
            "sub": session.user,
            "aud": session.client_id,
            "exp": int(now_s) + ACCESS_LIFE_S,
            "iat": int(now_s),
            "sid": session.sid,
            # On logout this routes the user home.
            "region": self._region,
        }
        return self._keys.token(claims, "JWT")


class Credentials:
    """Knows what callers show: the gateway its password, everybody their tokens."""

    def __init__(self, minter: Minter, accounts: Accounts, gateway_secret: str) -> None:
        self._minter = minter
        self._accounts = accounts
        self._gateway = f"{GATEWAY_CLIENT}:{gateway_secret}".encode()

    def is_gateway(self, authorization: str | None) -> bool:
        """Tell whether the one client that may introspect asks (RFC 7617)."""
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            shown = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(shown, self._gateway)

    def find(self, token: str) -> Access | None:
        """Return the access token that a caller means, in any of its kinds."""
        return self._accounts.find_handle(token) or self._minter.find(token)
