"""Explain: `POST /v1/explain`, the checks on a token and request, in order.

Owns:      the members of the question.
Called by: admin.api. Nothing of the question is logged or audited: it holds a token.
Source:    REQUIREMENTS.md B41.
"""

import re

from aiohttp import web

from fastgate.admin.call import Call
from fastgate.admin.members import read_members, required
from fastgate.admin.problems import RefusedError, json_response

__all__ = ["MEMBERS", "answer"]

MEMBERS = ("token", "method", "path", "cookies", "form")
_METHOD = re.compile(r"[A-Z]{1,32}", re.ASCII)


async def answer(call: Call) -> web.StreamResponse:
    """Return the steps, the decision and what it rests on. Raises RefusedError."""
    members = await read_members(call.request, MEMBERS)
    path = members.text("path")
    method = members.text("method") or "GET"
    if path is None:
        raise required("path")
    if not path.startswith("/"):
        raise RefusedError("invalid_request", "must begin with /", field="path")
    if not _METHOD.fullmatch(method):
        raise RefusedError(
            "invalid_request", "must be a method like GET", field="method"
        )
    return json_response(
        await call.agent.explain(
            token=members.text("token"),
            method=method,
            path=path,
            cookies=members.text("cookies"),
            form=members.form("form"),
        )
    )
