"""Third-party keys, and what signatures under them are worth.

Called by: test_keys.py here, and the command that writes docs/conformance.md. Labels
are read as SOURCES.md says: what fastgate does not serve (HS*, ES512, Ed448, encryption
keys) is to be refused, however valid it is elsewhere.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.conformance.rows import Case, Row, count
from tests.jwk_makers import number
from tests.vectors import find_vectors

from fastgate.control.jwks import KeySetError, check_keys, read_key_set
from fastgate.domain import base64url
from fastgate.domain.keys import IssuerKeys
from fastgate.hotpath.keys import build_keys

PUBLIC = {"kty", "crv", "x", "y", "n", "e", "kid"}
ALGORITHMS = {"RS256", "PS256", "ES256", "ES384", "EdDSA"}
_MIN_RSA_CHARACTERS = 342  # 2048 bits


def keys_of(entries: Iterable[Any]) -> IssuerKeys:
    """The way of the product: the agent checks, the worker builds."""
    said = check_keys(list(entries))
    return build_keys([jwk.members() for jwk in said.keys], True)


def verifies(keys: IssuerKeys, text: str) -> bool:
    """Tell whether a compact JWS verifies under the key that its kid names, or any."""
    signed, _, signature_text = text.rpartition(".")
    header = header_of(text)
    kid, alg = header.get("kid"), header.get("alg", "")
    named = keys.by_kid.get(kid)
    candidates = keys.every if kid is None else ([named] if named else [])
    signature = base64url.decode(signature_text) or b""
    return any(key.verify(alg, signature, signed.encode()) for key in candidates)


def header_of(text: str) -> dict[str, Any]:
    """Return the header of a compact JWS."""
    header: dict[str, Any] = json.loads(base64url.decode(text.partition(".")[0]) or b"")
    return header


def judged(name: str, keys: IssuerKeys, text: str, *, accept: bool) -> Iterator[Case]:
    """A message under its keys, as it is and with one bit of the signature changed."""
    yield Case(name, accept, verifies(keys, text))
    changed = verifies(keys, bent(text))
    yield Case(f"{name} changed", accept=False, accepted=changed)


def bent(text: str) -> str:
    """Return the message with one bit of its signature changed."""
    signed, _, signature = text.rpartition(".")
    octets = bytearray(base64url.decode(signature) or b"\0")
    octets[len(octets) // 2] ^= 1
    return f"{signed}.{base64url.encode(bytes(octets))}"


def is_signed(text: str) -> bool:
    """Tell a compact JWS with its payload in it from everything else."""
    return text.count(".") == 2 and ".." not in text


# -- which keys are taken -------------------------------------------------------------


def served(jwk: Mapping[str, Any]) -> bool:
    """Our own reading of a harmless key file: may it verify tokens here?

    The files are named after what they hold; this says the same of their content.
    """
    if jwk.get("kty") == "oct" or "d" in jwk or jwk.get("use", "sig") != "sig":
        return False
    if jwk["kty"] == "RSA":
        alg_fits = jwk.get("alg", "RS256") in {"RS256", "PS256"}
        return alg_fits and len(jwk["n"]) >= _MIN_RSA_CHARACTERS
    return jwk.get("crv") in {"P-256", "P-384", "Ed25519"}


def key_files(paths: Iterable[Path]) -> Iterator[Case]:
    """Key files as they are, and the public half of each private one."""
    for path in sorted(paths):
        body = path.read_bytes()
        try:
            document = json.loads(body)
        except ValueError:
            # PEM, DER, SSH text and the empty file: no key set, whatever is in them.
            yield Case(path.name, accept=False, accepted=is_key_set(body))
            continue
        if "keys" in document:
            yield from set_file(path.name, body, document["keys"])
            continue
        yield one_key(path.name, document)
        if "d" in document:
            public = {
                name: value
                for name, value in document.items()
                if name not in {"d", "p", "q", "dp", "dq", "qi", "key_ops"}
            }
            yield one_key(f"{path.name} public half", public)


def is_key_set(body: bytes) -> bool:
    """Tell whether a document is taken for a key set at all."""
    try:
        return bool(read_key_set(body).keys)
    except KeySetError:
        return False


def one_key(name: str, jwk: dict[str, Any]) -> Case:
    """A key that is published alone."""
    return Case(name, served(jwk), bool(keys_of([jwk]).every))


def set_file(name: str, body: bytes, entries: list[dict[str, Any]]) -> Iterator[Case]:
    """A whole set: each of its keys counts."""
    taken = {key.kid for key in read_key_set(body).keys}
    for at, jwk in enumerate(entries):
        yield Case(f"{name} {at}", served(jwk), jwk.get("kid") in taken)


def joserfc_keys(folder: Path) -> Iterator[Case]:
    """30 files: JWK, PEM, SSH text, one certificate."""
    yield from key_files((folder / "joserfc/tests/keys").iterdir())


def pyjwt_keys(folder: Path) -> Iterator[Case]:
    """26 files, odd ones among them."""
    yield from key_files((folder / "pyjwt/tests/keys").iterdir())


def cookbook_keys(folder: Path) -> Iterator[Case]:
    """RFC 7520 section 3."""
    yield from key_files((folder / "rfc7520-cookbook/jwk").iterdir())


# -- which signatures verify ----------------------------------------------------------


def wycheproof_jwk(folder: Path) -> Iterator[Case]:
    """Key sets with traps; of the valid cases only RS256 is served, HS* never."""
    document = json.loads((folder / "wycheproof/json_web_key_test.json").read_bytes())
    for group in document["testGroups"]:
        published = group.get("public") or group["private"]
        keys = keys_of(published.get("keys", [published]))
        for case in group["tests"]:
            served_alg = header_of(case["jws"])["alg"] in ALGORITHMS
            valid = case["result"] == "valid" and served_alg
            yield Case(f"tcId {case['tcId']}", valid, verifies(keys, case["jws"]))


def wycheproof_p1363(folder: Path) -> Iterator[Case]:
    """P-256 signatures in raw form, under key objects made from the group's point."""
    path = folder / "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"
    for group in json.loads(path.read_bytes())["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        x, y = (base64url.encode(octets) for octets in (point[1:33], point[33:]))
        (key,) = keys_of([{"kty": "EC", "crv": "P-256", "x": x, "y": y}]).every
        for case in group["tests"]:
            signature, signed = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            accepted = key.verify("ES256", signature, signed)
            yield Case(f"tcId {case['tcId']}", case["result"] == "valid", accepted)


def cookbook_signatures(folder: Path) -> Iterator[Case]:
    """JWS of RFC 7520 and RFC 8037 under their own keys."""
    for path in sorted((folder / "rfc7520-cookbook").rglob("*.json")):
        example = json.loads(path.read_bytes())
        text = example.get("output", {}).get("compact", "")
        jwk = example.get("input", {}).get("key", {})
        if isinstance(jwk, dict) and is_signed(text):
            keys = keys_of([{name: jwk[name] for name in PUBLIC & set(jwk)}])
            accept = header_of(text)["alg"] in ALGORITHMS
            yield from judged(path.stem, keys, text, accept=accept)


def published_keys(folder: Path) -> list[dict[str, Any]]:
    """Return the public half of every key of joserfc, PEM files as JWK."""
    found = []
    for path in sorted((folder / "joserfc/tests/keys").iterdir()):
        body = path.read_bytes()
        if path.suffix == ".json":
            jwk = json.loads(body)
            found.append({name: jwk[name] for name in PUBLIC & set(jwk)})
        elif b"BEGIN PUBLIC KEY" in body:
            found.append(jwk_of(load_pem_public_key(body)))
    return found


def jwk_of(key: object) -> dict[str, Any]:
    """Return the JWK of a key of the library; of types that are not served, nothing."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        crv = {"secp256r1": "P-256", "secp384r1": "P-384"}.get(key.curve.name, "other")
        point, size = key.public_numbers(), (key.curve.key_size + 7) // 8
        x, y = number(point.x, size), number(point.y, size)
        return {"kty": "EC", "crv": crv, "x": x, "y": y}
    return {}


def joserfc_signatures(folder: Path) -> Iterator[Case]:
    """Compact messages under every public key of the set: only its own may fit.

    EdDSA is served with Ed25519 keys only, so the message under Ed448 is refused.
    """
    keys = keys_of(published_keys(folder))
    for path in sorted((folder / "joserfc/tests/fixtures").glob("jw[st]_*.json")):
        for case in json.loads(path.read_bytes())["tests"]:
            text = case.get("compact") or case.get("token") or ""
            if not is_signed(text):
                continue
            name = f"{path.stem} {case['name']}"
            accept = header_of(text)["alg"] in ALGORITHMS and "ed448" not in name
            yield from judged(name, keys, text, accept=accept)


SETS: dict[str, tuple[Callable[[Path], Iterator[Case]], str]] = {
    "Wycheproof JWK": (wycheproof_jwk, "through key set and signature; HS* never"),
    "Wycheproof P-256 under key objects": (wycheproof_p1363, "high s is valid"),
    "joserfc keys": (joserfc_keys, "private, HMAC, X25519, Ed448, P-521, PEM refused"),
    "PyJWT keys": (pyjwt_keys, "likewise; two key sets with unknown algorithms"),
    "RFC 7520 keys": (cookbook_keys, "likewise"),
    "RFC 7520 signatures": (cookbook_signatures, "each also with one bit changed"),
    "joserfc signatures": (joserfc_signatures, "each also with one bit changed"),
}


def wrong(name: str, folder: Path) -> list[Case]:
    """The cases of this set that went wrong either way."""
    return [case for case in SETS[name][0](folder) if case.accept != case.accepted]


def rows() -> list[Row]:
    """A line for every set. Raises FileNotFoundError without FASTGATE_VECTORS."""
    folder = find_vectors()
    return [count(name, run(folder), note) for name, (run, note) in SETS.items()]
