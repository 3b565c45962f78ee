"""Revoke: `fastgate revoke` enters, lifts or lists revocations, and prints what came.

Owns:      how a revocation is spelled on a command line, and its one line of outcome.
Called by: cli.main.
Source:    ECOSYSTEM.md section 6; DESIGN.md section 10.
"""

import re
import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from fastgate.cli.admin_client import (
    AdminClient,
    AdminOption,
    ConfigOption,
    JsonOption,
    ask,
    client,
    plain,
)
from fastgate.cli.output import (
    EXIT_FAILURE,
    EXIT_USAGE,
    fail,
    print_json,
    print_line,
    working,
)
from fastgate.cli.revoke_list import list_revocations
from fastgate.config.values import parse_duration
from fastgate.domain.frame import NAME
from fastgate.domain.revocation import Kind

__all__ = ["command"]

_TENTHS_BELOW_MS = 10


def _value_option(kind: Kind, what: str) -> Any:
    return typer.Option(f"--{kind.value}", metavar="V", help=f"Revoke {what}.")


def command(
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="With --kind.")
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="What VALUE names.")] = None,
    sid: Annotated[str | None, _value_option(Kind.SID, "a session")] = None,
    sub: Annotated[str | None, _value_option(Kind.SUB, "all of a user")] = None,
    jti: Annotated[str | None, _value_option(Kind.JTI, "one token")] = None,
    client_id: Annotated[str | None, _value_option(Kind.CLIENT, "a client")] = None,
    grant: Annotated[str | None, _value_option(Kind.GRANT, "a grant")] = None,
    kid: Annotated[str | None, _value_option(Kind.KID, "a signing key")] = None,
    *,
    issuer: Annotated[
        str | None, typer.Option(help="Alias in the configuration.")
    ] = None,
    lift: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Undo the revocation of that id instead."),
    ] = None,
    listing: Annotated[
        bool,
        typer.Option(
            "--list", help="List what is revoked: --kind, --home, --all narrow it."
        ),
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="With --list: what was lifted or is over too.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="With --list: how many.")
    ] = 100,
    cursor: Annotated[
        str | None, typer.Option(help="With --list: where the last one ended.")
    ] = None,
    home: Annotated[
        str | None, typer.Option(help="Home region of the user, where it is known.")
    ] = None,
    issued_before: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="Tokens up to T only: 2026-11-21T00:51:12Z or seconds. Unset: now.",
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="1h", help="Keep it longer than tokens could live."),
    ] = None,
    urgent: Annotated[
        bool, typer.Option("--urgent", help="Close open streams of it too.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every region enforces it.")
    ] = False,
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token, session, user, client, grant, key or issuer, or list those.

    Exits with 1 if --wait was given and a region has not confirmed.

    Example: fastgate revoke --sub bob --issuer login --home us --wait
    """
    again = {"reason": reason, "wait": "regions" if wait else "local"}
    if listing:
        named_too = (value, sid, sub, jti, client_id, grant, kid, issuer, lift)
        others = (*named_too, issued_before, expires_in, reason or None)
        if urgent or wait or any(given is not None for given in others):
            fail("--list takes --kind, --home, --all and pages only", EXIT_USAGE)
        list_revocations(
            client(admin, config),
            origin=home,
            kind=None if kind is None else kind.value,
            live=not every,
            limit=limit,
            cursor=cursor,
            as_json=as_json,
        )
        return
    if lift is not None:
        asked = (value, kind, sid, sub, jti, client_id, grant, kid, issuer, home)
        if urgent or any(given is not None for given in (*asked, issued_before)):
            fail("--lift takes an ID, --reason and --wait only", EXIT_USAGE)
        _lift(client(admin, config), lift, again, as_json=as_json)
        return
    if issuer is None:
        fail("--issuer is missing: an alias in the configuration", EXIT_USAGE)
    named = {
        Kind.SID: sid,
        Kind.SUB: sub,
        Kind.JTI: jti,
        Kind.CLIENT: client_id,
        Kind.GRANT: grant,
        Kind.KID: kid,
    }
    what, who = _choose(kind, value, named)
    body = {
        "kind": what.value,
        "issuer": issuer,
        "value": who,
        "home": home,
        "issued_before": None if issued_before is None else _seconds(issued_before),
        "expires_in": None if expires_in is None else _whole_seconds(expires_in),
        "urgent": urgent,
    } | again
    gateway = client(admin, config)
    with working("Waiting for the regions" if wait else "Revoking"):
        answer = ask(gateway, "POST", "/v1/revocations", body)
    if as_json:
        print_json(answer.document)
    else:
        print_line((_line(what.value, answer.document, waited=wait), ""))
    _judge(answer.document, waited=wait)


def _lift(
    gateway: AdminClient, id_: str, body: dict[str, Any], *, as_json: bool
) -> None:
    if not NAME.fullmatch(id_):
        fail(f"--lift {plain(id_)}: not the id of a revocation", EXIT_USAGE)
    waited = body["wait"] == "regions"
    with working("Lifting"):
        answer = ask(gateway, "POST", f"/v1/revocations/{id_}/lift", body)
    if as_json:
        print_json(answer.document)
    else:
        line = _line(f"lift of {id_}", answer.document, waited=waited)
        others = ", ".join(map(plain, answer.document.get("elsewhere") or ()))
        print_line((line + (f" · still in force in {others}" if others else ""), ""))
    _judge(answer.document, waited=waited)


def _judge(document: dict[str, Any], *, waited: bool) -> None:
    if waited and not document.get("complete"):
        message = "not every region has confirmed; see `fastgate status`"
        print(f"fastgate: {message}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILURE)


def _choose(
    kind: Kind | None, value: str | None, named: dict[Kind, str | None]
) -> tuple[Kind, str]:
    given = [(k, v) for k, v in named.items() if v is not None]
    if kind is not None:
        given.append((kind, value or ""))
    if len(given) != 1 or (value is not None and kind is None):
        fail("give one of --sid, --sub, --jti, … V, or --kind KIND VALUE", EXIT_USAGE)
    chosen, what = given[0]
    if not what and chosen is not Kind.ISSUER:
        fail(f"--kind {chosen} needs a VALUE", EXIT_USAGE)
    return chosen, what


def _seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,10}(?:\.[0-9]{1,6})?", text, re.ASCII):
        return float(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        message = (
            f"--issued-before {plain(text)}: write 2026-11-21T00:51:12Z or seconds"
        )
        fail(message, EXIT_USAGE)
    return when.timestamp()


def _whole_seconds(text: str) -> int:
    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as error:
        fail(f"--expires-in {error}", EXIT_USAGE)


def _line(what: str, document: dict[str, Any], *, waited: bool) -> str:
    seq = document.get("seq")
    origin = plain(document.get("origin"))
    parts = [f"{origin} seq {seq}" if seq is not None else f"{origin}", what]
    receipt = document.get("receipt") or {}
    slowest_ms = 0.0
    for region, seen in sorted(receipt.items(), key=lambda item: item[1]["ms"]):
        nodes, ms = seen["nodes"], seen["ms"]
        slowest_ms = max(slowest_ms, ms)
        plural = "" if nodes == 1 else "s"
        parts.append(f"{plain(region)} {nodes} node{plural} {_ms(ms)}")
    if not document.get("published"):
        parts.append("pending: enforced by this node, not yet published")
    elif waited and document.get("complete"):
        parts.append(f"everywhere after {_ms(slowest_ms)}")
    elif waited:
        parts.append("not yet everywhere")
    return " · ".join(parts)


def _ms(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < _TENTHS_BELOW_MS else f"{ms:.0f} ms"
