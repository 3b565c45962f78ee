"""Status lists: fetches Token Status Lists in the background, and publishes what holds.

Owns:      a task for each list and for each aggregation; when each is fetched next.
Called by: control.agent, one object per node. Never because of a request: a token names
           a list, and only what the operator named is ever fetched.
Source:    draft-ietf-oauth-status-list sections 8 and 9; PROTOCOLS.md section 6.

A list that cannot be had, or not be checked, is not replaced; past its time it counts
as stale, and the route's `on_stale` decides. One bad list stops no other.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from fastgate.control.compact_jws import Jws, JwsVerifier, read_jws
from fastgate.control.discovery import MetadataError, read_metadata
from fastgate.control.json_document import JsonError, read_object
from fastgate.domain.notice import Fault, NoticeError
from fastgate.domain.status_list import (
    STATUS_LIST_TYPES,
    StatusList,
    read_status_list,
)
from fastgate.errors import BadAnswerError, ControlError
from fastgate.ports import Clock, Fetcher

__all__ = ["Board", "StatusListRules", "StatusLists", "list_name"]

_log = logging.getLogger(__name__)

_NS = 1_000_000_000
_FETCH_S = 10.0
# Reason: a hundred million entries, one in a hundred revoked, are 2.4 MB as a token.
_MAX_TOKEN_BYTES = 8 * 1024 * 1024
_MAX_LIST_BYTES = 16 * 1024 * 1024
_MAX_AGGREGATION_BYTES = 256 * 1024
_MAX_LISTS = 256
# Reason: what is set just after a fetch must be known within the list's own time, also
# where one fetch fails.
_REFRESH_AT = 0.5
_AGGREGATION_S = 300.0
_METADATA_S = 3_600.0
# Reason: an issuer names one; lists of its own making may each name another.
_MAX_FOUND = 8
_RETRY_FIRST_S, _RETRY_LAST_S = 1.0, 60.0
_TYPE = "application/statuslist+jwt"


class Board(Protocol):
    """Where lists are published (adapters.status_board)."""

    def put(
        self, name: str, raw: bytes, bits: int, *, until_ns: int, now_ns: int
    ) -> None:
        """Replace a list. Raises ControlError where there is no room."""
        ...

    def keep_only(self, names: set[str], *, now_ns: int) -> None:
        """Drop every list that is not named."""
        ...

    def until_ns(self, name: str) -> int:
        """Return up to when a list may be relied upon, 0 where it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class StatusListRules:
    """The lists of one issuer.

    alias, issuer: Name in the configuration, and exact `iss`.
    hosts: `host` or `host:port` that lists may be fetched from.
    lists: Their URIs. aggregation: URL of a document that names more, None for none.
    metadata: URL of the issuer's metadata, where such documents are to be found out by
        what it and the lists say; None where they are not.
    """

    alias: str
    issuer: str
    hosts: frozenset[str]
    lists: tuple[str, ...]
    aggregation: str | None
    algorithms: frozenset[str]
    leeway_s: int
    metadata: str | None = None

    def allows(self, uri: str) -> bool:
        """Tell whether a URI is one that may be fetched."""
        try:
            parts = urlsplit(uri)
            plain = parts.username is None and not parts.fragment
        except ValueError:
            return False
        return (
            plain and parts.scheme in {"https", "http"} and parts.netloc in self.hosts
        )


@dataclass(slots=True)
class _Tries:
    """How fetching one list goes; CLOCK_BOOTTIME, 0 for never."""

    fetched_ns: int = 0
    due_ns: int = 0
    error: str = ""


_Fetch = Callable[[StatusListRules, str], Awaitable[float]]


def list_name(alias: str, uri: str) -> str:
    """Return the name of a list on the board: its issuer's word alone counts."""
    return f"{alias}\n{uri}"


class StatusLists:
    """The status lists of one node.

    board: Shared with the workers. verifier: As for the ways in.
    alarms: Called with name, dependency and whether it is on, at every change.
    sleep: Replaces asyncio.sleep in tests.
    """

    def __init__(
        self,
        *,
        board: Board,
        fetcher: Fetcher,
        verifier: JwsVerifier,
        clock: Clock,
        alarms: Callable[[str, str, bool], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._board = board
        self._fetcher = fetcher
        self._verifier = verifier
        self._clock = clock
        self._alarms = alarms
        self._sleep = sleep
        self._tasks: dict[tuple[StatusListRules, str], asyncio.Task[None]] = {}
        self._failing: dict[str, set[str]] = {}
        self._tries: dict[tuple[StatusListRules, str], _Tries] = {}
        self._rules: tuple[StatusListRules, ...] = ()
        self._aggregated: dict[tuple[StatusListRules, str], tuple[str, ...]] = {}
        self._found: dict[StatusListRules, dict[str, None]] = {}

    async def follow(self, rules: Sequence[StatusListRules]) -> None:
        """Keep these lists; what is the same goes on as it is."""
        self._rules = tuple(rules)
        self._found = {r: a for r, a in self._found.items() if r in rules}
        await self._settle()

    async def stop(self) -> None:
        """End all tasks; what is published stays until its time."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def status(self) -> list[dict[str, Any]]:
        """Return a line a list: for how long it may be relied upon, and since when.

        All in seconds; `age_s` is None where it was never had, `error` where the last
        try was well.
        """
        now_ns = self._clock.boot_ns()
        lines = []
        for rules, uri in self._wanted():
            until_ns = self._board.until_ns(list_name(rules.alias, uri))
            tries = self._tries.get((rules, uri), _Tries())
            fetched_ns = tries.fetched_ns
            age_s = round((now_ns - fetched_ns) / _NS, 1) if fetched_ns else None
            lines.append(
                {
                    "issuer": rules.alias,
                    "uri": uri,
                    "fresh_s": round(max(0, until_ns - now_ns) / _NS, 1),
                    "age_s": age_s,
                    "next_s": round(max(0, tries.due_ns - now_ns) / _NS, 1),
                    "error": tries.error or None,
                }
            )
        return lines

    def _wanted(self) -> list[tuple[StatusListRules, str]]:
        found: dict[tuple[StatusListRules, str], None] = {}
        for rules in self._rules:
            named = [*rules.lists]
            for url in self._aggregations(rules):
                named += self._aggregated.get((rules, url), ())
            for uri in named[:_MAX_LISTS]:
                if rules.allows(uri):
                    found[rules, uri] = None
        return list(found)

    def _aggregations(self, rules: StatusListRules) -> list[str]:
        """Return the documents that name lists: the operator's, and those found."""
        named = [] if rules.aggregation is None else [rules.aggregation]
        found = self._found.get(rules, {})
        return named + [url for url in found if url != rules.aggregation]

    async def _settle(self) -> None:
        wanted: dict[tuple[StatusListRules, str], _Fetch] = {}
        for rules, uri in self._wanted():
            wanted[rules, uri] = self._list
        for rules in self._rules:
            for url in self._aggregations(rules):
                wanted[rules, url] = self._aggregation
            if rules.metadata is not None:
                wanted[rules, rules.metadata] = self._metadata
        current = asyncio.current_task()
        for key in [key for key in self._tasks if key not in wanted]:
            task = self._tasks.pop(key)
            self._tries.pop(key, None)
            self._aggregated.pop(key, None)
            self._note(key[0].alias, key[1], failed=False)
            if task is not current:
                task.cancel()
        names = {list_name(rules.alias, uri) for rules, uri in self._wanted()}
        # What an aggregation named before a restart is dropped once it was read again.
        if all(map(self._is_known, self._rules)):
            self._board.keep_only(names, now_ns=self._clock.boot_ns())
        for key, fetch in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._run(*key, fetch))

    def _is_known(self, rules: StatusListRules) -> bool:
        """Tell whether everything was read that may name lists."""
        said = self._aggregations(rules)
        if rules.metadata is not None:
            said += [rules.metadata, *filter(rules.allows, rules.lists)]
        found = (self._tries.get((rules, url)) for url in said)
        return all(tries is not None and tries.fetched_ns for tries in found)

    async def _run(
        self,
        rules: StatusListRules,
        uri: str,
        fetch: "_Fetch",
    ) -> None:
        retry_s = _RETRY_FIRST_S
        tries = self._tries.setdefault((rules, uri), _Tries())
        while True:
            try:
                wait_s = await fetch(rules, uri)
                first, tries.fetched_ns = not tries.fetched_ns, self._clock.boot_ns()
                if first:
                    await self._settle()  # perhaps the last one that was waited for
            except (NoticeError, ControlError) as error:
                _log.warning("status list of %s: %s", rules.alias, error)
                tries.error = str(error)
            except Exception:  # noqa: BLE001
                # The last border of a task: without it a list would silently never be
                # fetched again.
                _log.exception("a status list of %s broke", rules.alias)
                tries.error = "broke"
            else:
                tries.error = ""
            self._note(rules.alias, uri, failed=bool(tries.error))
            if tries.error:
                wait_s, retry_s = retry_s, min(2 * retry_s, _RETRY_LAST_S)
            else:
                retry_s = _RETRY_FIRST_S
            wait_s *= random.uniform(0.8, 1.0)  # noqa: S311 - jitter
            tries.due_ns = self._clock.boot_ns() + int(wait_s * _NS)
            await self._sleep(wait_s)

    def _note(self, alias: str, uri: str, *, failed: bool) -> None:
        failing = self._failing.setdefault(alias, set())
        (failing.add if failed else failing.discard)(uri)
        self._alarms("status_list", alias, bool(failing))

    async def _list(self, rules: StatusListRules, uri: str) -> float:
        """Fetch a list and publish it; returns when to fetch it again, in seconds."""
        body = await self._get(uri, _TYPE, _MAX_TOKEN_BYTES)
        # Both take milliseconds for a large list, and the feed shares this loop.
        jws = await asyncio.to_thread(_read, body)
        if jws.typ not in STATUS_LIST_TYPES:
            raise NoticeError(Fault.TYPE, "typ is not that of a status list")
        await self._verifier.check(jws, rules.alias, rules.algorithms)
        now_ns, now_s = self._clock.boot_ns(), self._clock.wall_s()
        found: StatusList = await asyncio.to_thread(
            read_status_list,
            jws.claims,
            uri=uri,
            issuer=rules.issuer,
            now_s=now_s,
            leeway_s=rules.leeway_s,
            max_bytes=_MAX_LIST_BYTES,
        )
        until_ns = now_ns + int(found.fresh_s * _NS)
        self._board.put(
            list_name(rules.alias, uri),
            found.raw,
            found.bits,
            until_ns=until_ns,
            now_ns=now_ns,
        )
        await self._found_out(rules, found.aggregation)
        return found.fresh_s * _REFRESH_AT

    async def _metadata(self, rules: StatusListRules, url: str) -> float:
        answer = await self._fetcher.fetch(
            "GET",
            url,
            headers={"accept": "application/json"},
            timeout_s=_FETCH_S,
            max_bytes=_MAX_AGGREGATION_BYTES,
        )
        try:
            document = read_metadata(answer, issuer=rules.issuer)
        except MetadataError as error:
            raise BadAnswerError(error.code) from None
        named = document.get("status_list_aggregation_endpoint", "")
        if not isinstance(named, str):
            raise BadAnswerError("bad_aggregation_endpoint")
        await self._found_out(rules, named)
        return _METADATA_S

    async def _found_out(self, rules: StatusListRules, url: str) -> None:
        """Ask another document for lists from now on, where one may be asked."""
        if rules.metadata is None or not url or not rules.allows(url):
            return
        found = self._found.setdefault(rules, {})
        if url not in found and len(found) < _MAX_FOUND:
            found[url] = None
            await self._settle()

    async def _aggregation(self, rules: StatusListRules, url: str) -> float:
        body = await self._get(url, "application/json", _MAX_AGGREGATION_BYTES)
        try:
            named = read_object(body).get("status_lists")
        except JsonError:
            raise BadAnswerError("no_json") from None
        if not isinstance(named, list):
            raise BadAnswerError("no_status_lists")
        uris = tuple(uri for uri in named if isinstance(uri, str))
        if uris != self._aggregated.get((rules, url)):
            self._aggregated[rules, url] = uris
            await self._settle()
        return _AGGREGATION_S

    async def _get(self, url: str, kind: str, max_bytes: int) -> bytes:
        answer = await self._fetcher.fetch(
            "GET",
            url,
            headers={"accept": kind},
            timeout_s=_FETCH_S,
            max_bytes=max_bytes,
        )
        if answer.status != 200:  # noqa: PLR2004 - as RFC 9110 names it
            raise ControlError(f"status_{answer.status}")
        if _media_type(answer.headers) != kind:
            raise BadAnswerError("wrong_type")
        return answer.body


def _read(body: bytes) -> Jws:
    try:
        text = body.decode("ascii").strip()
    except UnicodeDecodeError:
        raise NoticeError(Fault.MALFORMED, "not a compact JWS") from None
    return read_jws(text, max_chars=_MAX_TOKEN_BYTES)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
