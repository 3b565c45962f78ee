"""Listing: `GET /v1/revocations`, the revocations that a node knows, page by page.

Owns:      the members of the query and the shape of a page.
Called by: admin.api.
Source:    DESIGN.md section 10. No identifier is told: nobody has one here any more.
"""

from aiohttp import web

from fastgate.admin.call import Call
from fastgate.admin.problems import RefusedError, json_response
from fastgate.admin.query import read_query, whole
from fastgate.control.listing import Listed
from fastgate.domain.entry import EntryError
from fastgate.domain.revocation import Kind

__all__ = ["MEMBERS", "answer"]

MEMBERS = ("origin", "kind", "live", "limit", "cursor")
_LIMIT, _MAX_LIMIT = 100, 1_000
_FLAGS = ("true", "false")


async def answer(call: Call) -> web.StreamResponse:
    """Return a page of events. Raises RefusedError."""
    members = read_query(call.request, MEMBERS)
    kind = members.choice("kind", [kind.value for kind in Kind])
    try:
        page = await call.agent.feed.listing.page(
            limit=whole(members, "limit", _LIMIT, 1, _MAX_LIMIT),
            cursor=members.text("cursor"),
            origin=members.choice("origin", call.agent.feed.origins),
            kind=None if kind is None else Kind(kind),
            live=members.choice("live", _FLAGS) != "false",
        )
    except EntryError as error:
        detail = str(error).removeprefix(f"{error.field}: ")
        raise RefusedError("invalid_request", detail, field=error.field) from None
    events = [_document(event) for event in page.events]
    return json_response({"revocations": events, "next": page.next})


def _document(event: Listed) -> dict[str, object]:
    return {
        "id": event.id,
        "origin": event.origin,
        "kind": event.kind.value,
        "expires": event.expires,
        "issued_before": event.cutoff,
        "lifted": event.lifted,
    }
