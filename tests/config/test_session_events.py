"""`session_events` makes a route of its own, which demands what its owner does."""

import pytest
from tests.config.documents import changed, load_text, said

from fastgate.config.compile import compile_snapshot

TOKEN = "    token: {issuer: login}\n"
EVENTS = TOKEN + "    session_events: /events\n"


def test_the_path_of_session_events_is_a_route_with_the_same_demands(tmp_path):
    """Token, scope and freshness are those of the route that names it."""
    text = changed(
        TOKEN,
        "    token: {issuer: login, scope: [orders]}\n    websocket: true\n"
        "    session_events: /orders/session\n",
    )
    loaded = load_text(tmp_path, text)
    snapshot = compile_snapshot(loaded.require(), version=1)
    orders, events = snapshot.routes.routes
    assert (orders.session_events, events.session_events) == (False, True)
    assert (events.prefix, events.index) == ("/orders/session", 1)
    assert events.name == f"{orders.name}.events"
    assert (events.issuer, events.scope) == (orders.issuer, orders.scope)
    assert not events.websocket


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (EVENTS.replace("{issuer: login}", "none"), "needs token"),
        (EVENTS.replace("/events", "/orders"), "matches the same requests as"),
        (
            EVENTS + "  - path: /events/\n    service: orders\n    token: none\n",
            "matches the same requests as",
        ),
        (EVENTS.replace("/events", "events"), "canonical"),
    ],
    ids=["public", "own-path", "another-route", "relative"],
)
def test_check_refuses_session_events_that_cannot_be(tmp_path, written, problem):
    """A public route has no session, and no path has two meanings."""
    found = said(load_text(tmp_path, changed(TOKEN, written)))
    assert len(found) == 1
    assert problem in found[0]
