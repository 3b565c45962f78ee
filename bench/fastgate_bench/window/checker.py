"""Checker: joins the logs of clients and upstream afterwards, and says what they show.

Owns:      nothing; it reads files.
Called by: window.rounds after each round, when nothing is under way any more.

A request was accepted when its head reached the upstream, whatever its client saw of
it: a client that gave up says nothing about the token.
"""

import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

__all__ = ["Findings", "Logs", "judge"]

_REFUSED: Final = 401
_OK: Final = 200


@dataclass(slots=True)
class Findings:
    """What a round, or many, showed.

    window_ns: Longest time from being told to a request that was accepted all the same.
    worst: The request it was. lost: Revoked tokens accepted after the heal, and where.
    refused: Good tokens that were answered 401. unseen: Clients saw success, and the
    upstream saw not one request. late_ns: How late the rig itself was at worst.
    """

    window_ns: int = 0
    worst: str = ""
    checked: int = 0
    revocations: int = 0
    told: int = 0
    accepted_after: int = 0
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    late_ns: int = 0
    unhealed: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take in another round."""
        if other.window_ns > self.window_ns:
            self.window_ns, self.worst = other.window_ns, other.worst
        for name in ("checked", "revocations", "told", "accepted_after"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("lost", "refused", "unseen", "unhealed"):
            getattr(self, name).extend(getattr(other, name))
        self.late_ns = max(self.late_ns, other.late_ns)


class Logs:
    """Reads the two logs on from where the last round ended."""

    def __init__(self, client: pathlib.Path, upstream: pathlib.Path) -> None:
        self._paths = client, upstream
        self._at = [0, 0]

    def read(self) -> tuple[list[dict[str, Any]], dict[str, int], dict[str, int], int]:
        """Return client lines; by id the first arrival and the count; the lag."""
        lines = [orjson.loads(line) for line in self._rest(0)]
        first: dict[str, int] = {}
        count: dict[str, int] = {}
        late_ns = 0
        for line in self._rest(1):
            name, _, number = line.partition(b" ")
            if name == b"lag":
                late_ns = max(late_ns, int(number))
                continue
            key = name.decode()
            first.setdefault(key, int(number))
            count[key] = count.get(key, 0) + 1
        return lines, first, count, late_ns

    def _rest(self, which: int) -> list[bytes]:
        with self._paths[which].open("rb") as file:
            file.seek(self._at[which])
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at[which] += len(whole)
        return whole.splitlines()


def judge(
    lines: Iterable[dict[str, Any]],
    arrived: dict[str, int],
    count: dict[str, int],
    lifted: frozenset[str],
) -> Findings:
    """Return what the joined logs of one round show.

    lifted: Ids of revocations that somebody tried to undo; they bound nothing.
    """
    found = Findings()
    told: dict[str, int] = {}
    requests = []
    for line in lines:
        if line["log"] == "revocation":
            found.revocations += 1
            if line["told"] and line["id"] not in lifted:
                found.told += 1
                told[line["id"]] = line["told"]
        elif line["log"] == "request":
            requests.append(line)
    for line in requests:
        _judge_request(found, line, told, arrived, count)
    return found


def _judge_request(
    found: Findings,
    line: dict[str, Any],
    told: dict[str, int],
    arrived: dict[str, int],
    count: dict[str, int],
) -> None:
    found.checked += 1
    whose, name, status = line["whose"], line["id"], line["status"]
    if status == _OK and count.get(name, 0) != 1:
        found.unseen.append(f"{name}: {count.get(name, 0)}")
    if whose.startswith("good"):
        if status == _REFUSED:
            found.refused.append(f"{name} at {line['node']}")
    elif whose in told and name in arrived:
        late_ns = arrived[name] - told[whose]
        if late_ns > 0:
            found.accepted_after += 1
        if late_ns > found.window_ns:
            found.window_ns = late_ns
            found.worst = f"{name} with {whose} at {line['node']}"
