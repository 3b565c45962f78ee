"""Feed: what a node says of its origins to another one, and the adoption of a region.

Owns:      the members of both requests.
Called by: admin.api.
Source:    REVOCATION.md sections 2 (adopt) and 4 (digest).
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from aiohttp import web

from fastgate.admin.call import Call
from fastgate.admin.members import read_members, required
from fastgate.admin.problems import RefusedError, json_response
from fastgate.control.adoption import Adopted
from fastgate.domain.entry import EntryError

__all__ = ["adopt", "digests"]

_MARK = re.compile(r"[0-9]{1,16}", re.ASCII)
# Reason: `<origin>/<publisher>`; publishers are few, and their names short.
_MAX_MARKS = 4_096


async def digests(call: Call) -> web.StreamResponse:
    """Return the digest of every publisher, as of marks and a time that are given.

    Changes nothing: it is a POST because it asks with a body.
    """
    members = await read_members(call.request, ("wall", "marks"))
    marks = _marks(members.form("marks"))
    return json_response(call.agent.feed.digests(members.whole("wall"), marks))


def _marks(given: Mapping[str, Sequence[str]] | None) -> dict[str, int] | None:
    if given is None:
        return None
    if len(given) > _MAX_MARKS:
        raise RefusedError("invalid_request", "too many", field="marks")
    marks = {}
    for name, texts in given.items():
        if len(texts) != 1 or not _MARK.fullmatch(texts[0]):
            raise RefusedError("invalid_request", "are numbers as texts", field="marks")
        marks[name] = int(texts[0])
    return marks


async def adopt(call: Call) -> web.StreamResponse:
    """Speak for a region that is gone for good; audited before and after.

    Raises RefusedError; then this node speaks for nobody else than before.
    """
    members = await read_members(call.request, ("region",))
    region = members.text("region")
    if region is None:
        raise required("region")

    async def act() -> Adopted:
        try:
            return await call.agent.feed.adopt(region)
        except EntryError as error:
            detail = str(error).removeprefix(f"{error.field}: ")
            raise RefusedError("invalid_request", detail, field=error.field) from None

    adopted = await call.audited("adopt", {"region": region[:64]}, act)
    return json_response(dataclasses.asdict(adopted), status=201)
