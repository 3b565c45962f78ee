"""Third-party inputs at the door of the token scanner, and what it did with each.

Called by: test_json.py and test_token_text.py here, and the command that writes
docs/conformance.md. A case counts as refused only when the reason is the one that the
label asks for; refused for another reason counts as wrongly accepted.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from tests.compact import compact
from tests.conformance.rows import Case, Row, count
from tests.vectors import find_vectors

from fastgate._ext import token

NAMES = token.ClaimNames(region=("region", "zone", "org_region"))
DUPLICATES = {
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
}
SHAPE = {"not_three_parts", "bad_alphabet", "empty_part"}


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_bytes())


def documents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The JSON test suite: name and exact bytes."""
    for path in sorted((folder / "jsontestsuite" / "test_parsing").iterdir()):
        yield path.name, path.read_bytes()


def json_as_claims(folder: Path) -> Iterator[Case]:
    """Claims must be an object, so legal scalars and arrays are refused as such."""
    for name, data in documents(folder):
        scan = token.scan_json(data, NAMES)
        is_object = data.lstrip().startswith(b"{")
        legal = name.startswith("y_") and name not in DUPLICATES
        if legal and not is_object:
            yield Case(name, accept=False, accepted=scan.name != "not_object")
        elif name in DUPLICATES:
            yield Case(name, accept=False, accepted=scan.name != "duplicate_member")
        else:
            yield Case(name, legal, scan.code == 1)


def json_as_header(folder: Path) -> Iterator[Case]:
    """No document of the suite has an `alg`: legal means that only this is missed."""
    names = token.ClaimNames(region=(), max_token_bytes=16384)
    for name, data in documents(folder):
        scan = token.scan(compact(header=data or b" "), names)
        legal = name.startswith("y_") and name not in DUPLICATES
        is_object = data.lstrip().startswith(b"{")
        if scan.code == 1:
            yield Case(name, accept=False, accepted=True)
        else:
            yield Case(name, legal and is_object, scan.name == "missing_alg")


def json_as_value(folder: Path) -> Iterator[Case]:
    """Every document inside a claim that is not read: only the JSON rules judge it."""
    for name, data in documents(folder):
        scan = token.scan_json(b'{"x":' + data + b',"sub":"u"}', NAMES)
        legal = name.startswith("y_") and name not in DUPLICATES
        yield Case(name, legal, scan.sub == "u")


def naughty_strings(folder: Path) -> Iterator[Case]:
    """Strings that broke programs, as a claim: they come out as they went in."""
    for n, text in enumerate(load(folder, "blns/blns.json")):
        for ascii_only in (True, False):
            document = json.dumps({"sub": text, "aud": ["a", text + "b"]})
            if not ascii_only:
                document = json.dumps(json.loads(document), ensure_ascii=False)
            scan = token.scan(compact(claims=document.encode()), NAMES)
            same = (scan.sub, scan.aud) == (text, ("a", text + "b"))
            yield Case(f"{n}-{'ascii' if ascii_only else 'utf8'}", True, same)


def point(x: int, y: int) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def verifies(
    key: ec.EllipticCurvePublicKey,
    raw: bytes,
    message: bytes,
    algorithm: SHA256 | Prehashed,
) -> bool:
    """ES256 as the gate does it: range and form here, the curve in the library."""
    der = token.der_signature(raw, 32)
    if der is None:
        return False
    try:
        key.verify(der, message, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def es256_tokens(folder: Path) -> Iterator[Case]:
    """Whole tokens; of each valid one also every other last character."""
    for entry in load(folder, "es256-tokens/tokens.json")["tokens"]:
        text = entry["token"].encode()
        valid = entry["expect_signature"] == "valid"
        yield Case(entry["source"], valid, es256_token_verifies(text, entry.get("jwk")))
        last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for other in set(last) - {text[-1]} if valid else ():
            spelled = text[:-1] + bytes([other])
            accepted = es256_token_verifies(spelled, entry["jwk"])
            yield Case(f"{entry['source']} {other:c}", accept=False, accepted=accepted)


def es256_token_verifies(text: bytes, jwk: dict[str, str] | None) -> bool:
    scan = token.scan(text, NAMES)
    if scan.code != 1 or scan.alg != "ES256" or jwk is None:
        return False
    numbers = [int.from_bytes(decode_text(jwk[k]), "big") for k in ("x", "y")]
    key = point(*numbers)
    return verifies(key, scan.signature(), text[: scan.signing_input_end], SHA256())


def decode_text(text: str) -> bytes:
    """Octets of base64url text, by the decoder under test."""
    scan = token.scan(compact(signature=b"") + text.encode(), NAMES)
    return scan.signature()


def wycheproof_p1363(folder: Path) -> Iterator[Case]:
    """P-256 signatures in raw form, hostile and good."""
    sets = load(folder, "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")
    for group in sets["testGroups"]:
        key = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), bytes.fromhex(group["publicKey"]["uncompressed"])
        )
        for case in group["tests"]:
            raw, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            accepted = verifies(key, raw, message, SHA256())
            yield Case(f"tcId {case['tcId']}", case["result"] == "valid", accepted)


def nist_acvp(folder: Path) -> Iterator[Case]:
    """P-256 signatures of digests that are given as such."""
    for case in load(folder, "nist-acvp/ecdsa_p256_sha256_sigver.json")["tests"]:
        raw = bytes.fromhex(case["r"].zfill(64) + case["s"].zfill(64))
        key = point(int(case["qx"], 16), int(case["qy"], 16))
        digest = bytes.fromhex(case["digest"])
        accepted = verifies(key, raw, digest, Prehashed(SHA256()))
        yield Case(f"tcId {case['tcId']}", case["testPassed"], accepted)


def wycheproof_jwk(folder: Path) -> Iterator[Case]:
    """Their payload is `foo` or nothing: none of the messages is a JWT."""
    for group in load(folder, "wycheproof/json_web_key_test.json")["testGroups"]:
        for case in group["tests"]:
            scan = token.scan(case["jws"].encode(), NAMES)
            refused = scan.name in {"not_object", "empty_part"}
            yield Case(f"tcId {case['tcId']}", accept=False, accepted=not refused)


def message(case_id: str, text: str, header: dict[str, Any], payload: str) -> Case:
    """One message in compact form: accepted where it is a plain JWS of an object."""
    scan = token.scan(text.encode(), NAMES)
    if {"crit", "b64"} & set(header):
        wanted = {"crit", "b64", "bad_length", *SHAPE}  # a raw payload is no base64url
    elif text.count(".") != 2:
        wanted = {"not_three_parts"}
    elif ".." in text:
        wanted = {"empty_part"}
    elif not payload.startswith("{"):
        wanted = {"not_object"}
    else:
        same = (scan.alg, scan.kid) == (header["alg"], header.get("kid"))
        return Case(case_id, accept=True, accepted=scan.code == 1 and same)
    return Case(case_id, accept=False, accepted=scan.name not in wanted)


def json_forms(case_id: str, forms: dict[str, Any]) -> Iterator[Case]:
    """The JSON serialisations, which are no bearer tokens."""
    for form in ("general_json", "flattened_json", "json", "json_flat"):
        if form in forms:
            text = json.dumps(forms[form], separators=(",", ":")).encode()
            scan = token.scan(text, NAMES)
            refused = scan.name in SHAPE
            yield Case(f"{case_id} {form}", accept=False, accepted=not refused)


def joserfc_messages(folder: Path) -> Iterator[Case]:
    """Messages in every form; the nine without text are made by the library's tests."""
    for path in sorted((folder / "joserfc/tests/fixtures").glob("*.json")):
        fixture = json.loads(path.read_bytes())
        payload = fixture["payload"]
        if not isinstance(payload, str):
            payload = json.dumps(payload)
        for case in fixture["tests"]:
            case_id = f"{path.stem} {case['name']}"
            header = case.get("protected") or case.get("header") or {"alg": case["alg"]}
            text = case.get("compact") or case.get("token") or case.get("value")
            if text:
                yield message(case_id, text, header, payload)
            yield from json_forms(case_id, case)


def cookbook_messages(folder: Path) -> Iterator[Case]:
    """RFC 7520 and its companions: JWS, JWE, nested, detached and b64=false."""
    for path in sorted((folder / "rfc7520-cookbook").rglob("*.json")):
        example = json.loads(path.read_bytes())
        steps = [example[k] for k in ("sign", "encrypt") if k in example] or [example]
        for n, step in enumerate(step for step in steps if "output" in step):
            case_id = f"{path.stem} {n}"
            output = step["output"]
            signing = step.get("signing", {})
            protected = signing.get("protected", {}) if "compact" in output else {}
            payload = step["input"].get("payload", "")
            if "compact" in output:
                yield message(case_id, output["compact"], protected, payload)
            yield from json_forms(case_id, output)


SETS: dict[str, tuple[Callable[[Path], Iterator[Case]], str]] = {
    "JSONTestSuite as claims": (
        json_as_claims,
        "legal documents that are no object, and two with duplicate names, are refused",
    ),
    "JSONTestSuite as header": (json_as_header, "likewise; legal ones lack only `alg`"),
    "JSONTestSuite inside a claim": (json_as_value, "two with duplicates are refused"),
    "Big List of Naughty Strings as claims": (
        naughty_strings,
        "unchanged, two spellings",
    ),
    "ES256 tokens": (es256_tokens, "with 63 other last characters of each valid one"),
    "Wycheproof P-256 raw signatures": (wycheproof_p1363, "high s is valid"),
    "NIST ACVP P-256 signatures": (nist_acvp, "prehashed"),
    "Wycheproof JWK messages as tokens": (wycheproof_jwk, "none has a claims object"),
    "joserfc messages as tokens": (joserfc_messages, "refused for the right reason"),
    "RFC 7520 cookbook as tokens": (cookbook_messages, "refused for the right reason"),
}


def wrong(name: str, folder: Path) -> list[Case]:
    """The cases of this set that went wrong either way."""
    return [case for case in SETS[name][0](folder) if case.accept != case.accepted]


def rows() -> list[Row]:
    """A line for every set. Raises FileNotFoundError without FASTGATE_VECTORS."""
    folder = find_vectors()
    return [count(name, run(folder), note) for name, (run, note) in SETS.items()]
