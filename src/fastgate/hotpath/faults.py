"""Faults: how a fault of our own is logged.

Owns:      nothing.
Called by: hotpath.relay, hotpath.desk and hotpath.live, at the last border of a task.
"""

import logging

__all__ = ["log_fault"]

_LOG = logging.getLogger("fastgate.relay")


def log_fault(error: BaseException) -> None:
    """Log a fault of our own; its text may hold what a client sent, its name not."""
    _LOG.error("request failed: %s at %s", type(error).__name__, _place(error))


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
