"""Explain: `fastgate explain` shows what a gateway decides about a token, and why.

Owns:      where the token comes from (never from an argument), and the table of steps.
Called by: cli.main.
Source:    ECOSYSTEM.md section 6; REQUIREMENTS.md B41.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fastgate.cli.admin_client import (
    AdminOption,
    ConfigOption,
    JsonOption,
    ask,
    client,
    plain,
)
from fastgate.cli.output import EXIT_USAGE, fail, show
from fastgate.config.environment import read_bounded

__all__ = ["command"]

# Reason: the largest token that a gateway can be configured to read is 16 KiB.
_MAX_SECRET_BYTES = 32 * 1024


def command(
    token_file: Annotated[
        str | None,
        typer.Argument(
            metavar="TOKENFILE|-",
            help="File with the token; `-` reads standard input. Unset: no token.",
        ),
    ] = None,
    *,
    path: Annotated[str, typer.Option(help="Path and query of the request.")],
    method: Annotated[str, typer.Option(help="Method of the request.")] = "GET",
    cookie: Annotated[
        str | None,
        typer.Option(metavar="C", help="Cookie header; @FILE reads it from a file."),
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=V", help="Member of an OAuth form; K=@FILE reads the value."
        ),
    ] = None,
    admin: AdminOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the gateway decides about a token and request, check by check.

    The token is read from a file or standard input, since other users of a host see
    the arguments of a process. It is not logged.

    Example: fastgate explain token.txt --path /orders/42
    """
    body = {
        "token": None if token_file is None else _token(token_file),
        "method": method.upper(),
        "path": path,
        "cookies": None if cookie is None else _given(cookie),
        "form": _form(form) if form else None,
    }
    gateway = client(admin, config)
    answer = ask(gateway, "POST", "/v1/explain", body).document
    show(answer, ("step", "outcome"), _rows(answer), as_json=as_json)


def _rows(answer: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(plain(s["step"]), plain(s["outcome"])) for s in answer.get("steps", [])]
    decision = f"{answer.get('status')} {answer.get('reason') or answer.get('verdict')}"
    if answer.get("region"):
        decision += f", home {answer['region']} by {answer.get('source')}"
    rows.append(("decision", plain(decision)))
    return rows


def _token(source: str) -> str:
    token = _read(source).strip()
    scheme, _, rest = token.partition(" ")
    # A copied header is what people have at hand.
    return rest.strip() if scheme.lower() == "bearer" else token


def _given(value: str) -> str:
    return _read(value[1:]).strip() if value.startswith("@") else value


def _form(members: list[str]) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for member in members:
        name, equals, value = member.partition("=")
        if not name or not equals:
            # The member is not repeated: it may be a token given by mistake.
            fail("--form takes K=V, or K=@FILE", EXIT_USAGE)
        form.setdefault(name, []).append(_given(value))
    return form


def _read(source: str) -> str:
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(_MAX_SECRET_BYTES + 1)
        else:
            raw = read_bounded(str(Path(source)), _MAX_SECRET_BYTES)
        if len(raw) > _MAX_SECRET_BYTES:
            fail(f"{source} holds more than {_MAX_SECRET_BYTES} bytes", EXIT_USAGE)
        return raw.decode()
    except OSError as error:
        # The name is not repeated: it may be a token given by mistake.
        why = error.strerror or "cannot be read"
        message = f"the file with the token: {why}; give a file, or - for stdin"
        fail(message, EXIT_USAGE)
    except ValueError:
        fail("the file with the token holds no token", EXIT_USAGE)
