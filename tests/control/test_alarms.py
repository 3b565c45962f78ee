"""Alarms: raised once, cleared once, shown oldest first."""

import logging

from fastgate.control.alarms import Alarms


def shown(alarms):
    """Active alarms by name and dependency."""
    return [(line["alarm"], line["dependency"]) for line in alarms.active()]


def test_alarm_is_shown_until_it_is_cleared():
    """By the dependency that is at fault; another one's stays."""
    alarms = Alarms()
    alarms.set("jwks_unavailable", "login", True)
    alarms.set("jwks_unavailable", "other", True)
    assert shown(alarms) == [
        ("jwks_unavailable", "login"),
        ("jwks_unavailable", "other"),
    ]
    alarms.set("jwks_unavailable", "login", False)
    assert shown(alarms) == [("jwks_unavailable", "other")]


def test_repeats_change_nothing_and_are_not_logged(caplog):
    """An alarm that is raised each second is one line, and keeps its age."""
    alarms = Alarms()
    with caplog.at_level(logging.INFO):
        alarms.set("bus", "bus", True)
        (first,) = alarms.active()
        alarms.set("bus", "bus", True)
        assert alarms.active() == [first]
        alarms.set("bus", "bus", False)
        alarms.set("bus", "bus", False)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "alarm bus: bus"),
        ("INFO", "alarm over bus: bus"),
    ]


def test_alarms_are_bounded():
    """A fault of ours that makes up names does not eat the memory."""
    alarms = Alarms()
    for number in range(1_500):
        alarms.set("made_up", str(number), True)
    assert len(alarms.active()) == 1_000
    alarms.set("made_up", "0", False)
    alarms.set("jwks_unavailable", "login", True)
    assert shown(alarms)[-1] == ("jwks_unavailable", "login")
