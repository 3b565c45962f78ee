"""Admin client: how a verb asks the admin API of a running gateway.

Owns:      one bounded HTTP exchange over TCP or a Unix socket; what a refusal means to
           the operator, and its exit code.
Called by: cli.revoke, cli.explain, cli.status and cli.keys.
"""

import http.client
import os
import socket
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import orjson
import typer

from fastgate.cli.admin_place import AdminPlace, find_place
from fastgate.cli.output import (
    EXIT_CONFIG,
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    fail,
)

__all__ = [
    "AdminClient",
    "AdminOption",
    "Answer",
    "AskError",
    "ConfigOption",
    "JsonOption",
    "ask",
    "client",
    "plain",
]

AdminOption = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="ADDR",
        help="HOST:PORT or unix:/PATH. Unset: FASTGATE_ADMIN, else the configuration.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Has `admin` and `admin_token`. Unset: FASTGATE_CONFIG, ./fastgate.yaml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Reason: a revocation waits at most 10 s for all regions, a fetch of keys some seconds.
_TIMEOUT_S = 30.0
# Reason: the status of a gateway with thousands of routes fits many times.
_MAX_ANSWER_BYTES = 16 << 20
_OK_BELOW = 300

_FIXES = {
    401: "set FASTGATE_ADMIN_TOKEN, or FASTGATE_ADMIN_TOKEN_FILE to a file with it",
    421: "name the gateway as `admin` in its configuration does, with --admin",
}
_EXITS = {
    400: EXIT_USAGE,
    422: EXIT_CONFIG,
    502: EXIT_UNAVAILABLE,
    503: EXIT_UNAVAILABLE,
}


class AskError(Exception):
    """The gateway gave no usable answer, or refused.

    exit_code: What the verb exits with.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    status: int
    document: Any


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminClient:
    """Asks one admin API; each question is a connection of its own."""

    def __init__(self, place: AdminPlace) -> None:
        self.place = place

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Return the answer to a request.

        body: Sent as JSON; None sends none. Raises AskError.
        """
        content = None if body is None else orjson.dumps(body)
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self.place.token is not None:
            headers["Authorization"] = f"Bearer {self.place.token}"
        link = self._link()
        try:
            link.request(method, path, content, headers)
            with link.getresponse() as response:
                raw = response.read(_MAX_ANSWER_BYTES + 1)
        except OSError as error:
            raise self._unreached(error) from None
        except (http.client.HTTPException, ValueError):
            raise self._no_gateway() from None
        finally:
            link.close()
        return self._judged(response.status, raw)

    def _link(self) -> http.client.HTTPConnection:
        place = self.place
        if place.path is not None:
            return _UnixConnection(place.path, _TIMEOUT_S)
        return http.client.HTTPConnection(place.host, place.port, timeout=_TIMEOUT_S)

    def _judged(self, status: int, raw: bytes) -> Answer:
        try:
            document = orjson.loads(raw)
        except ValueError:
            raise self._no_gateway() from None
        if status < _OK_BELOW:
            return Answer(status, document)
        if not isinstance(document, dict) or "code" not in document:
            raise self._no_gateway()
        raise AskError(_refusal(status, document), _EXITS.get(status, EXIT_FAILURE))

    def _unreached(self, error: OSError) -> AskError:
        why = error.strerror or "no answer in time"
        return AskError(
            f"{self.place}: {why}; is the gateway running?"
            " Name its admin address with --admin or FASTGATE_ADMIN",
            EXIT_UNAVAILABLE,
        )

    def _no_gateway(self) -> AskError:
        return AskError(
            f"{self.place}: that is no admin API of fastgate;"
            " name its address with --admin or FASTGATE_ADMIN",
            EXIT_UNAVAILABLE,
        )


def _refusal(status: int, problem: dict[str, Any]) -> str:
    errors = problem.get("errors") or []
    said = [f"{e.get('field')}: {e.get('detail')}" for e in errors]
    said = said or [str(problem.get("detail") or problem.get("title"))]
    if status in _FIXES:
        said = [
            f"{problem.get('title')} {_FIXES[status][0].upper()}{_FIXES[status][1:]}"
        ]
    return plain("; ".join(said))


def plain(text: object) -> str:
    """Return text that moves no cursor, whatever it came from (THREATS.md T19)."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def client(admin: str | None, config: str | None) -> AdminClient:
    """Return a client for the gateway that the options and the environment name.

    Raises ConfigError.
    """
    return AdminClient(find_place(admin, config, os.environ))


def ask(asked: AdminClient, method: str, path: str, body: object = None) -> Answer:
    """Return the answer to a request, or say what is wrong and exit."""
    try:
        return asked.ask(method, path, body)
    except AskError as error:
        _end(error)


def _end(error: AskError) -> NoReturn:
    fail(str(error), error.exit_code)
