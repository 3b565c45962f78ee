"""Healthcheck: `fastgate healthcheck` asks the status listener whether all is well.

Owns:      one HTTP exchange with the standard library's socket alone.
Called by: cli.entry, before anything else is imported; probes of containers.

It does not read the configuration, whose parser costs more than the whole probe: the
address comes from --status, from FASTGATE_STATUS, or is the default.
"""

import os
import socket
import sys

__all__ = ["run"]

_USAGE = """\
usage: fastgate healthcheck [--ready] [--status ADDR] [--json]

Ask /livez (with --ready: /readyz) of the status listener. Exit 0 if it answers 200,
else 1.

  --ready         ask whether this node may get traffic, not only whether it lives
  --status ADDR   HOST:PORT or http://HOST:PORT (default: FASTGATE_STATUS, else
                  127.0.0.1:8086)
  --json          print the outcome as JSON
"""
_DEFAULT = "127.0.0.1:8086"
# Reason: probes are given up after some seconds; the status listener answers at once.
_TIMEOUT_S = 2.0
# Reason: a status line is short; more is not our listener.
_MAX_STATUS_LINE = 256
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class _UsageError(Exception):
    """The arguments make no sense."""


def run(arguments: list[str]) -> int:
    """Ask, print the outcome and return the exit code.

    arguments: Those after the verb.
    """
    try:
        path, host, port, as_json = _parse(arguments)
    except _UsageError as error:
        print(f"{error}\n{_USAGE}" if str(error) else _USAGE, end="", file=sys.stderr)
        return 2
    if not path:
        print(_USAGE, end="")
        return 0
    try:
        answer = _ask(path, host, port)
    except (OSError, ValueError) as error:
        answer = f"no answer: {error}"
    ok = answer.startswith("200")
    if as_json:
        import json

        url = f"http://{host}:{port}{path}"
        print(json.dumps({"ok": ok, "url": url, "answer": answer}))
    elif ok:
        print("ok")
    else:
        print(f"fastgate: {path} of {host}:{port}: {answer}", file=sys.stderr)
    return 0 if ok else 1


def _parse(arguments: list[str]) -> tuple[str, str, int, bool]:
    path, as_json = "/livez", False
    address = os.environ.get("FASTGATE_STATUS", _DEFAULT)
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--ready":
            path = "/readyz"
        elif argument == "--json":
            as_json = True
        elif name in {"--status", "--url"}:
            address = value if equals else next(rest, "")
        elif argument in {"-h", "--help"}:
            return "", "", 0, False
        else:
            raise _UsageError(f"fastgate: unknown argument {argument!r}")
    host, port = _address(address)
    return path, host, port, as_json


def _address(text: str) -> tuple[str, int]:
    bare = text.removeprefix("http://").partition("/")[0]
    host, colon, port = bare.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise _UsageError(f"fastgate: {text!r} is no HOST:PORT")
    host = host.removeprefix("[").removesuffix("]")
    return _WILDCARDS.get(host, host), int(port)


def _ask(path: str, host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as link:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        link.sendall(head.encode("latin-1"))
        received = b""
        while b"\r\n" not in received and len(received) < _MAX_STATUS_LINE:
            part = link.recv(_MAX_STATUS_LINE)
            if not part:
                break
            received += part
    line = received.partition(b"\r\n")[0].decode("latin-1")
    protocol, _, status = line.partition(" ")
    if not protocol.startswith("HTTP/1."):
        raise ValueError("that is no HTTP answer")
    return status
