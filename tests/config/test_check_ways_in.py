"""Level 3 of the ways in: a listener for what is pushed, one issuer for each name."""

import pytest
from tests.config.documents import BASE, changed, load_text, said

from fastgate.config.problems import Level

AT = "    audience: [api]\n"
LOGOUT = AT + "    logout: {clients: [web]}\n"
SSF = AT + "    ssf: {audience: [gw]}\n"
POLLED = AT + (
    "    ssf:\n"
    "      audience: [gw]\n"
    "      push: false\n"
    "      poll: {url: 'URL', authorization: '${KEY}'}\n"
)
GLOBAL = AT + "    global_revocation: {token: '${KEY}'}\n"
STREAM = AT + (
    "    ssf:\n"
    "      audience: [gw]\n"
    "      max_silence: 3m\n"
    "      critical_subjects: [tenant]\n"
    "      stream: {authorization: '${KEY}', receiver: 'https://gw.example.com/sets'}\n"
)
INTAKE = "intake: {}\n"
LISTS = AT + (
    "    status_list:\n"
    "      hosts: [login.example.com]\n"
    "      lists: ['https://login.example.com/lists/1']\n"
)
TAPPED = BASE + (
    "  - path: /oauth/\n"
    "    service: orders\n"
    "    oauth: true\n"
    "    tap: {issuer: login, revocation: /oauth/revoke}\n"
)
KEY = {"KEY": "0123456789abcdef", "SHORT": "0123"}
OTHER = """\
  other:
    issuer: https://login.example.com
    jwks_url: https://login.example.com/jwks
    logout: {clients: [web]}
services:
"""


def lines(folder, text, level):
    return [
        line.partition(" ")[2] for line in said(load_text(folder, text, KEY), level)
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(changed(AT, LOGOUT) + INTAKE, id="logout"),
        pytest.param(changed(AT, SSF) + INTAKE, id="push"),
        pytest.param(
            changed(AT, SSF)
            + "intake: {listen: '0.0.0.0:8087', tls: {cert: /c, key: /k}}\n",
            id="tls",
        ),
        pytest.param(changed(AT, GLOBAL) + INTAKE, id="global"),
        pytest.param(
            changed(AT, POLLED.replace("URL", "https://login.example.com/poll")),
            id="poll",
        ),
        pytest.param(changed(AT, STREAM) + INTAKE, id="stream"),
        pytest.param(changed(AT, LISTS), id="status-lists"),
        pytest.param(TAPPED, id="tap"),
    ],
)
def test_way_in_is_accepted(tmp_path, text):
    assert lines(tmp_path, text, Level.ERROR) == []
    assert lines(tmp_path, text, Level.WARN) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            changed(AT, LOGOUT),
            "issuers.login.logout: comes to `intake`, which is off",
            id="logout-off",
        ),
        pytest.param(
            changed(AT, SSF), "issuers.login.ssf: comes to `intake`", id="push-off"
        ),
        pytest.param(
            changed(AT, GLOBAL), "global_revocation: comes to `intake`", id="global-off"
        ),
        pytest.param(
            changed(AT, AT + "    ssf: {audience: [gw], push: false}\n"),
            "issuers.login.ssf: takes no event",
            id="no-way",
        ),
        pytest.param(
            changed(AT, AT + "    ssf: {audience: [gw], revokes: lgin}\n") + INTAKE,
            'issuers.login.ssf.revokes: "lgin" is not one of login; did you mean',
            id="revokes",
        ),
        pytest.param(
            changed(AT, AT + "    ssf: {audience: [gw, gw]}\n") + INTAKE,
            'ssf.audience[1]: "gw" is listed twice',
            id="twice",
        ),
        pytest.param(
            changed(AT, AT + "    logout: {clients: []}\n") + INTAKE,
            "issuers.login.logout.clients:",
            id="no-clients",
        ),
        pytest.param(
            changed(AT, AT + "    logout: {clients: [web], algorithms: [none]}\n")
            + INTAKE,
            '"none" is never accepted',
            id="none-j1",
        ),
        pytest.param(
            changed(AT, LOGOUT, "services:\n", OTHER) + INTAKE,
            "issuers.other.logout: has the `iss` of login's",
            id="same-iss",
        ),
        pytest.param(
            changed(AT, AT + "    status_list: {hosts: [login.example.com]}\n"),
            "issuers.login.status_list: names no list",
            id="no-lists",
        ),
        pytest.param(
            changed(AT, LISTS.replace("[login.", "[lists.")),
            "issuers.login.status_list.lists[0]: is at none of the hosts",
            id="foreign-list",
        ),
        pytest.param(
            changed(
                AT,
                LISTS.replace("[login.", "['https://login.").replace("com]", "com']"),
            ),
            "status_list.hosts[0]:",
            id="host-with-scheme",
        ),
        pytest.param(
            TAPPED.replace("oauth: true", "token: none"),
            "routes[1].tap: needs oauth: true",
            id="tap-without-oauth",
        ),
        pytest.param(
            TAPPED.replace("issuer: login,", "issuer: lgin,"),
            'routes[1].tap.issuer: "lgin" is not one of login',
            id="tap-issuer",
        ),
        pytest.param(
            TAPPED.replace("/oauth/revoke", "/oauthrevoke"),
            "routes[1].tap.revocation: is not below the route's path",
            id="tap-path",
        ),
        pytest.param(
            TAPPED.replace(", revocation: /oauth/revoke", ""),
            "routes[1].tap: names no endpoint",
            id="tap-nothing",
        ),
        pytest.param(
            changed(
                AT, STREAM.replace(", receiver: 'https://gw.example.com/sets'", "")
            ),
            "ssf.stream: needs receiver, the URL that events are pushed to, or poll",
            id="stream-to-nobody",
        ),
        pytest.param(
            changed(
                AT,
                STREAM.replace("max_silence: 3m", "push: false")
                + "      poll: {url: 'https://login.example.com/poll'}\n",
            ),
            "ssf.stream.receiver: is for pushed events, and push is false",
            id="receiver-without-push",
        ),
        pytest.param(
            changed(AT, LOGOUT) + "intake: {listen: 127.0.0.1:8085}\n",
            "intake: 127.0.0.1:8085 is taken by admin already",
            id="collision",
        ),
    ],
)
def test_way_in_that_cannot_work_is_refused(tmp_path, text, problem):
    found = lines(tmp_path, text, Level.ERROR)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            BASE + INTAKE, "intake: no issuer has logout, ssf or", id="unused"
        ),
        pytest.param(
            changed(AT, LOGOUT) + "intake: {listen: '0.0.0.0:8087'}\n",
            "intake.listen: takes tokens without TLS",
            id="no-tls",
        ),
        pytest.param(
            changed(AT, STREAM.replace("3m", "90s")) + INTAKE,
            "ssf.max_silence: is less than two verifications",
            id="silence",
        ),
        pytest.param(
            changed(AT, STREAM.replace("receiver", "metadata: 'http://a.b', receiver"))
            + INTAKE,
            "ssf.stream.metadata: is fetched without TLS",
            id="plain-metadata",
        ),
        pytest.param(
            changed(AT, GLOBAL.replace("KEY", "SHORT")) + INTAKE,
            "global_revocation.token: is short",
            id="short",
        ),
        pytest.param(
            changed(AT, POLLED.replace("URL", "http://login.example.com/poll")),
            "ssf.poll.url: fetches events without TLS",
            id="plain",
        ),
        pytest.param(
            changed(AT, LISTS.replace("https:", "http:")),
            "issuers.login.status_list: fetches lists without TLS",
            id="plain-list",
        ),
    ],
)
def test_way_in_that_is_risky_is_warned_of(tmp_path, text, problem):
    found = lines(tmp_path, text, Level.WARN)
    assert any(problem in line for line in found), found
