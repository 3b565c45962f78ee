"""The error families: each says whose fault it is, and carries a stable code.

Imports nothing, so every room may import it. A denied request is not an error: that is
a value (`domain.verdict.Decision`).
"""

from typing import ClassVar

__all__ = [
    "BadAnswerError",
    "BugError",
    "CallerError",
    "ConfigError",
    "ControlError",
    "FastgateError",
    "StartError",
    "UpstreamError",
]


class FastgateError(Exception):
    """Root of all fastgate errors; `code` is stable, the text is for people."""

    code: ClassVar[str] = "fastgate"
    retryable: ClassVar[bool] = False


class ConfigError(FastgateError):
    """The operator's configuration is wrong: exit 78, nothing changes."""

    code = "config"


class StartError(FastgateError):
    """The installation is unfit to start, e.g. a compiled module is missing: exit 1."""

    code = "start"


class CallerError(FastgateError):
    """The downstream broke the protocol: 400 and close.

    reason: A name of `domain.verdict.Reason`, which decides the status.
    """

    code = "caller"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class UpstreamError(FastgateError):
    """The protected service failed: 502 or 504.

    reason: A name of `domain.verdict.Reason`, which decides the status.
    """

    code = "upstream"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class ControlError(FastgateError):
    """Keys, feed, introspection or journal failed: 502 or 503, the policy decides."""

    code = "control"
    retryable = True


class BadAnswerError(ControlError):
    """A party of the control plane answered, but with something unusable: 502."""

    code = "bad_answer"
    retryable = False


class BugError(FastgateError):
    """A fault of fastgate itself: 500 and an alarm."""

    code = "bug"
