"""Ways in: who may say, besides the admin API, that something is revoked.

Owns:      the `intake` section, and `logout`, `ssf`, `global_revocation` and
           `status_list` of issuers.
Called by: config.model and config.issuers; control.intake_rules reads them.
Source:    OpenID Connect Back-Channel Logout 1.0; SSF 1.0, RFC 8935, RFC 8936; Global
           Token Revocation; Token Status List; PROTOCOLS.md sections 6 to 9.
"""

import enum
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from fastgate.config.addresses import Address, Url
from fastgate.config.algorithms import Algorithm
from fastgate.config.base import Alias, Model, VisibleText
from fastgate.config.server import Tls
from fastgate.config.values import (
    Between,
    Count,
    Duration,
    Flag,
    Patterned,
    Secret,
    Text,
    Within,
)

__all__ = [
    "GlobalRevocation",
    "Intake",
    "Logout",
    "LogoutBy",
    "Poll",
    "Ssf",
    "StatusLists",
    "Subject",
]


HostName = Annotated[
    Text,
    Patterned(
        r"[A-Za-z0-9\[\]:._-]{1,260}", "is no host; write host or host:port, no scheme"
    ),
]


class LogoutBy(enum.StrEnum):
    """What a logout token ends."""

    SID = "sid"
    SUB = "sub"


class Subject(enum.StrEnum):
    """Subject identifier formats (RFC 9493) whose value can be a `sub`."""

    ISS_SUB = "iss_sub"
    OPAQUE = "opaque"
    EMAIL = "email"


class Intake(Model):
    """The listener for what issuers push; the agent serves it."""

    listen: Address = Field(
        default=Address("127.0.0.1", 8087),
        description="An address or `unix:/path`. Publish it by a route or `tls`.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Certificate of this listener. Unset: plain HTTP.",
    )


class Logout(Model):
    """Back-channel logout: logout tokens of this issuer end sessions."""

    clients: tuple[VisibleText, ...] = Field(
        min_length=1,
        max_length=256,
        description="Client ids that logout tokens may be for; one must be in `aud`.",
    )
    by: LogoutBy = Field(
        default=LogoutBy.SID,
        description=(
            "`sid`: the session, or all of the user's tokens where the logout token "
            "names none; `sub`: always the user's, for access tokens without `sid`."
        ),
    )
    algorithms: tuple[Algorithm, ...] | None = Field(
        default=None,
        min_length=1,
        description="Of logout tokens. Unset: those of the issuer.",
    )


class Poll(Model):
    """Where security events wait to be fetched (RFC 8936)."""

    url: Url = Field(description="The polling endpoint of the stream.")
    authorization: Secret | None = Field(
        default=None,
        description="Value of the Authorization header, such as `Bearer …`.",
    )
    # Reason: servers and balancers cut connections that are silent for a minute.
    wait: Annotated[Duration, Between("1s", "5m")] = Field(
        default=timedelta(seconds=30), description="How long one poll may stay open."
    )
    # Reason: a transmitter that never lets a poll wait must not be asked in a loop.
    every: Annotated[Duration, Between("100ms", "5m")] = Field(
        default=timedelta(seconds=1),
        description="Pause after a poll that brought nothing.",
    )
    events: Annotated[Count, Within(1, 256)] = Field(
        default=64, description="Events asked for at once."
    )


class Stream(Model):
    """The stream at its transmitter: looked up, asked for signs of life, or made."""

    authorization: Secret = Field(
        description="Authorization header of its management API, such as `Bearer …`."
    )
    metadata: Url | None = Field(
        default=None,
        description=(
            "The transmitter's configuration document. Unset: "
            "`/.well-known/ssf-configuration` of the `iss` of its SETs."
        ),
    )
    receiver: Url | None = Field(
        default=None,
        description="URL of `/sets` as the transmitter sees it. Unset: it is polled.",
    )
    create: Flag = Field(
        default=False,
        description="Make a stream where none delivers here; nothing else is changed.",
    )
    # Reason: each round is two calls; a transmitter may ask for longer pauses.
    verify: Annotated[Duration, Between("1s", "1h")] = Field(
        default=timedelta(minutes=1),
        description="Ask for a verification event so often.",
    )


class Ssf(Model):
    """Security events of this issuer: SETs as SSF, CAEP and RISC send them."""

    issuer: VisibleText | None = Field(
        default=None,
        description="Exact `iss` of its SETs. Unset: that of its tokens.",
    )
    audience: tuple[VisibleText, ...] = Field(
        min_length=1,
        max_length=64,
        description="One of these must be in `aud`, as the stream was made with.",
    )
    algorithms: tuple[Algorithm, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Of SETs; the interoperability profile uses RS256. Unset: those of the "
            "issuer."
        ),
    )
    revokes: Alias | None = Field(
        default=None,
        description="Issuer whose users the events are about. Unset: this one.",
    )
    subjects: tuple[Subject, ...] = Field(
        default=(Subject.ISS_SUB,),
        min_length=1,
        description=(
            "Formats of subjects whose value is the `sub` of that issuer's tokens. "
            "An event about any other subject is refused, and the sender told."
        ),
    )
    user_events: Flag = Field(
        default=False,
        description=(
            "Also act on changed or compromised credentials and on disabled or purged "
            "accounts: the user's tokens from before end."
        ),
    )
    authorization: Secret | None = Field(
        default=None,
        description=(
            "Authorization header that a push must carry, as the stream was told. "
            "Unset: the signature alone is asked for."
        ),
    )
    push: Flag = Field(default=True, description="Take pushed SETs at `intake`.")
    poll: Poll | None = Field(
        default=None, description="Fetch SETs. Unset: they are only pushed."
    )
    stream: Stream | None = Field(
        default=None,
        description="Look after the stream. Unset: its operator does, elsewhere.",
    )
    max_silence: Annotated[Duration, Between("2s", "1d")] | None = Field(
        default=None,
        description="Alarm once nothing came for so long. Unset: never.",
    )
    critical_subjects: tuple[VisibleText, ...] = Field(
        default=(),
        max_length=64,
        description=(
            "`critical_subject_members` of the transmitter: complex subjects with one "
            "that is not understood are refused. `stream` finds them out."
        ),
    )


class GlobalRevocation(Model):
    """Global Token Revocation: whoever has the token ends all tokens of a user."""

    token: Secret = Field(
        description="Bearer token of the requests; use `${file:PATH}`."
    )
    subjects: tuple[Subject, ...] = Field(
        default=(Subject.ISS_SUB,),
        min_length=1,
        description="Formats of subjects whose value is the `sub` of tokens.",
    )


class StatusLists(Model):
    """Token Status Lists, fetched in the background; never because of a request."""

    hosts: tuple[HostName, ...] = Field(
        min_length=1,
        max_length=64,
        description="`host` or `host:port` that lists may be fetched from.",
    )
    lists: tuple[Url, ...] = Field(
        default=(),
        max_length=256,
        description="URIs of lists, exactly as tokens name them.",
    )
    aggregation: Url | None = Field(
        default=None,
        description="Document that names the lists, asked for every 5 min.",
    )
    discover: Flag = Field(
        default=False,
        description=(
            "Also ask the documents that a list (`aggregation_uri`) or the issuer's "
            "metadata (`status_list_aggregation_endpoint`) names, at these hosts."
        ),
    )
    algorithms: tuple[Algorithm, ...] | None = Field(
        default=None,
        min_length=1,
        description="Of Status List Tokens. Unset: those of the issuer.",
    )
