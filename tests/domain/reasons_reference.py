"""Print docs/reasons.md from the table: `python -m tests.domain.reasons_reference`."""

from fastgate.domain.verdict import OUTCOMES, Challenge, Reason

HEAD = """# Reasons for refusals

Generated from `fastgate.domain.verdict` by `python -m tests.domain.reasons_reference`.

The reason stands in the access log, in metrics and in `fastgate explain`. A client sees
the status, the public code (`code` of the `application/problem+json` body) and the
challenge, so that nobody who tries tokens learns what was wrong with one; only a route
with `debug` tells the reason, too. `Retry-After` is longer where an issuer asked for a
longer wait. Where an issuer answered for an opaque token with a JWT whose fault only
the issuer can have made, the reason is `bad_issuer_response`.

| reason | status | public code | challenge | Retry-After | what it means |
|---|---|---|---|---|---|
"""

CHALLENGES = {
    Challenge.NONE: "-",
    Challenge.BARE: "`Bearer`, no error",
    Challenge.INVALID_TOKEN: '`Bearer`, `error="invalid_token"`',
    Challenge.INVALID_REQUEST: '`Bearer`, `error="invalid_request"`',
    Challenge.INSUFFICIENT_SCOPE: '`Bearer`, `error="insufficient_scope"`',
}

# What a client is not told: these reasons share one title.
MEANINGS = {
    Reason.MALFORMED: "The token is not written as a JWT must be, or is opaque where "
    "none is accepted.",
    Reason.TOO_LARGE: "The token is longer than its limit.",
    Reason.BAD_TYP: "The header's `typ` is none that the issuer's profile accepts, or "
    "the token holds another token.",
    Reason.BAD_ALG: "The header's `alg` is missing, not accepted from this issuer, or "
    "not one of the key's.",
    Reason.CRIT: "The header asks for an extension: `crit`, `b64` or `zip`.",
    Reason.EXPIRED: "`exp` is past, leeway included.",
    Reason.NOT_YET: "`nbf` or `iat` is in the future, leeway included.",
    Reason.LIFETIME: "The token lives longer than its issuer's tokens may, so it could "
    "outlive its revocation.",
    Reason.MISSING_CLAIM: "A claim that this issuer's tokens must have is absent.",
    Reason.UNKNOWN_KID: "The issuer publishes no key that fits, also after a fetch.",
    Reason.BAD_SIGNATURE: "No key of the issuer that fits verifies the signature.",
    Reason.BAD_ISS: "`iss` is not this issuer.",
    Reason.BAD_AUD: "`aud` names nothing that this route accepts.",
    Reason.REVOKED: "The token, or its session, user, client, grant, key or issuer, is "
    "revoked.",
    Reason.INACTIVE: "The issuer says that the opaque token is not active.",
    Reason.SUSPENDED: "The token's status list says that it is suspended, or something "
    "that only the application knows.",
    Reason.NO_STATUS: "The token names an entry that its status list does not have.",
    Reason.BOUND: "The token is bound to a key or certificate (`cnf`), which cannot be "
    "checked here.",
    Reason.TOO_MANY_REQUESTS: "The client sends more requests than it may.",
    Reason.TOO_MANY_FAILURES: "Too many tokens of this client failed to verify, so one "
    "never seen before is not verified now; known tokens are served.",
}


def row(reason: Reason) -> str:
    """Return one line of the table."""
    outcome = OUTCOMES[reason]
    wait = f"{outcome.retry_after_s} s" if outcome.retry_after_s else "-"
    return (
        f"| `{reason.value}` | {outcome.status} | `{outcome.public}` "
        f"| {CHALLENGES[outcome.challenge]} | {wait} "
        f"| {MEANINGS.get(reason, outcome.title)} |\n"
    )


def text() -> str:
    """Return the whole page."""
    return HEAD + "".join(row(reason) for reason in Reason)


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201
