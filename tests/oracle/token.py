"""Oracle of `_ext/token`: the same rules, written to be read rather than to be fast.

Owns:      nothing. Called by: tests/twins and tests/ext.
It shares no idea with the compiled scanner: it builds the whole tree, keeps names in a
dict, leaves UTF-8 and base64 to the standard library, and reads claims from the tree.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any, Final

from tests.oracle.token_json import Fault, Num, Parser, Path, Rules

NAMES = (
    "ok too_large not_three_parts empty_part bad_length bad_alphabet spare_bits "
    "not_object json_syntax json_truncated trailing_data bad_number bad_escape "
    "lone_surrogate control_character bad_utf8 duplicate_member too_deep "
    "too_many_members key_too_long missing_alg bad_alg bad_kid bad_typ bad_cty nested "
    "crit b64 zip bad_iss bad_aud bad_exp bad_nbf bad_iat bad_identifier bad_scope "
    "bad_region bad_status"
)
CODES: Final = dict(enumerate(NAMES.split(), start=1))
NUMBERS: Final = {name: code for code, name in CODES.items()}

ALPHABET = re.compile(rb"[A-Za-z0-9_-]*")
ORDERS = {
    32: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    48: int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF"
        "581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
}


@dataclass(frozen=True)
class ClaimNames:
    """As the compiled one, without its checks of the configuration."""

    region: tuple[str, ...]
    grant: tuple[str, ...] = ("grant_id",)
    require: tuple[str, ...] = ()
    max_token_bytes: int = 8192
    max_depth: int = 16
    max_members: int = 128
    max_key_bytes: int = 256

    def path(self, name: str) -> Path:
        """Where a configured claim stands."""
        return (name,) if "://" in name else tuple(name.split("."))

    def rules(self) -> Rules:
        """What is asked of each claim that is read: its kind, and the code if wrong."""
        rules: Rules = {
            ("iss",): ("text", "bad_iss"),
            ("aud",): ("audience", "bad_aud"),
            ("scope",): ("text", "bad_scope"),
            ("scp",): ("scopes", "bad_scope"),
            ("exp",): ("integer", "bad_exp"),
            ("nbf",): ("integer", "bad_nbf"),
            ("iat",): ("integer", "bad_iat"),
            ("status",): ("object", "bad_status"),
            ("status", "status_list"): ("status list", "bad_status"),
            ("status", "status_list", "idx"): ("integer", "bad_status"),
            ("status", "status_list", "uri"): ("text", "bad_status"),
        }
        for name in ("sub", "jti", "sid", "session_id", "client_id", "azp"):
            rules[(name,)] = ("identifier", "bad_identifier")
        for name in self.region:
            if rules.get(self.path(name), ("", ""))[0] != "text":
                rules[self.path(name)] = ("text", "bad_region")
        for name in self.grant:
            rules.setdefault(self.path(name), ("identifier", "bad_identifier"))
        return rules


HEADER_RULES: Rules = {
    ("alg",): ("name", "bad_alg"),
    ("kid",): ("name", "bad_kid"),
    ("typ",): ("name", "bad_typ"),
    ("cty",): ("content type", "bad_cty"),
    ("crit",): ("forbidden", "crit"),
    ("b64",): ("forbidden", "b64"),
    ("zip",): ("forbidden", "zip"),
}


@dataclass
class TokenScan:
    """The answer; every attribute is worked out from the two trees."""

    names: ClaimNames
    code: int = 0
    where: str = "token"
    signing_input_end: int = 0
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    octets: bytes = b""

    def at(self, *path: str) -> Any:
        tree: Any = self.claims
        for name in path:
            tree = tree.get(name) if isinstance(tree, dict) else None
        return tree

    def identifier(self, *names: str) -> tuple[str | None, str | None]:
        """The first of these claims that is there, and its name."""
        for name in names:
            value = self.at(*self.names.path(name))
            if value is not None:
                return (value.text if isinstance(value, Num) else value), name
        return None, None

    def integer(self, *path: str) -> int:
        value = self.at(*path)
        return -1 if value is None else value.exact

    @property
    def name(self) -> str:
        return CODES[self.code]

    alg = property(lambda self: self.header.get("alg", ""))
    kid = property(lambda self: self.header.get("kid"))
    typ = property(lambda self: self.header.get("typ"))
    iss = property(lambda self: self.at("iss"))
    sub = property(lambda self: self.identifier("sub")[0])
    jti = property(lambda self: self.identifier("jti")[0])
    sid = property(lambda self: self.identifier("sid", "session_id")[0])
    client_id = property(lambda self: self.identifier("client_id", "azp")[0])
    grant = property(lambda self: self.identifier(*self.names.grant)[0])
    region = property(lambda self: self.identifier(*self.names.region)[0])
    region_claim = property(lambda self: self.identifier(*self.names.region)[1])
    exp = property(lambda self: self.integer("exp"))
    nbf = property(lambda self: self.integer("nbf"))
    iat = property(lambda self: self.integer("iat"))
    status_idx = property(lambda self: self.integer("status", "status_list", "idx"))
    status_uri = property(lambda self: self.at("status", "status_list", "uri"))
    has_cnf = property(lambda self: "cnf" in self.claims)
    has_scope = property(lambda self: bool({"scope", "scp"} & set(self.claims)))

    @property
    def aud(self) -> tuple[str, ...]:
        value = self.at("aud")
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else tuple(value)

    @property
    def scope(self) -> tuple[str, ...]:
        value = self.claims.get("scope", self.claims.get("scp", ""))
        if isinstance(value, list):
            return tuple(value)
        return tuple(word for word in value.split(" ") if word)

    @property
    def active(self) -> bool | None:
        value = self.at("active")
        return value if isinstance(value, bool) else None

    @property
    def has_all_required(self) -> bool:
        present = {name for name, value in self.claims.items() if value is not None}
        return CODES[self.code] == "ok" and set(self.names.require) <= present

    def signature(self) -> bytes:
        return self.octets


def decode_part(part: bytes) -> bytes:
    """Canonical base64url: what encodes back to the same text."""
    if len(part) % 4 == 1:
        raise Fault("bad_length")
    if not ALPHABET.fullmatch(part):
        raise Fault("bad_alphabet")
    octets = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(octets).rstrip(b"=") != part:
        raise Fault("spare_bits")
    return octets


def split(token: bytes, names: ClaimNames) -> list[bytes]:
    if len(token) > names.max_token_bytes:
        raise Fault("too_large")
    parts = token.split(b".")
    if len(parts) != 3:
        raise Fault("not_three_parts")
    if b"" in parts:
        raise Fault("empty_part")
    return parts


def scan_header(octets: bytes, names: ClaimNames) -> dict[str, Any]:
    header = Parser(octets, names, HEADER_RULES).document()
    if "alg" not in header:
        raise Fault("missing_alg")
    return header


def scan(token: bytes, names: ClaimNames) -> TokenScan:
    where = "token"
    try:
        parts = split(token, names)
        head, body, signature = [decode_part(part) for part in parts]
        where = "header"
        header = scan_header(head, names)
        where = "claims"
        claims = Parser(body, names, names.rules()).document()
    except Fault as fault:
        return TokenScan(names, NUMBERS[fault.args[0]], where)
    end = len(token) - len(parts[2]) - 1
    return TokenScan(names, 1, where, end, header, claims, signature)


scan_unverified = scan


def scan_json(document: bytes, names: ClaimNames) -> TokenScan:
    if len(document) > 65536:
        return TokenScan(names, NUMBERS["too_large"], "claims")
    try:
        claims = Parser(document, names, names.rules()).document()
    except Fault as fault:
        return TokenScan(names, NUMBERS[fault.args[0]], "claims")
    return TokenScan(names, 1, "claims", 0, {}, claims)


def der_signature(raw: bytes, size: int) -> bytes | None:
    if len(raw) != 2 * size:
        return None
    parts = []
    for octets in (raw[:size], raw[size:]):
        value = int.from_bytes(octets, "big")
        if not 1 <= value < ORDERS[size]:
            return None
        shortest = value.to_bytes(value.bit_length() // 8 + 1, "big")
        parts.append(bytes([2, len(shortest)]) + shortest)
    return bytes([0x30, len(b"".join(parts))]) + b"".join(parts)
