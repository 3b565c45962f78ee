"""Users whose claims have changed: older answers about them are not used any more."""

import orjson
from tests.introspection_kit import PHANTOM, Worker
from tests.key_fakes import answer

from fastgate.control.changed_users import ChangedUsers
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer

SECOND = 1_000_000_000


def about(subject: str, asked_s: int) -> IntrospectionAnswer:
    return IntrospectionAnswer(
        AnswerKind.CLAIMS, asked_boot_ns=asked_s * SECOND, subject=subject
    )


def test_answer_about_a_changed_user_is_asked_for_again():
    """What was asked after the change is the news itself."""
    changed = ChangedUsers()
    assert not changed.outdates("login", about("bob", 5))
    changed.add("login", "bob", 7 * SECOND)
    assert changed.outdates("login", about("bob", 5))
    assert not changed.outdates("login", about("bob", 8))
    assert not changed.outdates("login", about("alice", 5))
    assert not changed.outdates("other", about("bob", 5))


def test_changes_of_many_users_are_bounded_and_none_is_passed_over():
    """Past the bound, everybody's older answers are asked for again."""
    changed = ChangedUsers()
    for n in range(4_097):
        changed.add("login", f"user-{n}", 10 * SECOND + n)
    assert len(changed._since_ns) == 4_096
    assert changed.outdates("login", about("user-0", 9))
    assert changed.outdates("login", about("nobody", 9))
    assert not changed.outdates("login", about("nobody", 11))


def test_change_is_forgotten_once_no_older_answer_can_be_kept():
    """A minute, which is what an answer is kept for at most."""
    changed = ChangedUsers()
    changed.add("login", "bob", 7 * SECOND)
    changed.add("login", "alice", 68 * SECOND)
    assert list(changed._since_ns) == [("login", "alice")]


async def test_worker_asks_the_issuer_again_about_a_changed_users_token():
    """Members and phantom tokens alike; another user's answers are kept."""
    for said in (None, PHANTOM):
        worker = Worker()
        alias = worker.issuer.alias
        if said is not None:
            worker.endpoint.say = said
        first = await worker.ask()
        assert (await worker.ask()).cached
        worker.time.advance(1)
        worker.asking.told({"issuer": alias, "subject": "somebody"})
        assert (await worker.ask()).cached
        worker.asking.told({"issuer": alias, "subject": first.subject})
        worker.time.advance(1)
        again = await worker.ask()
        assert not again.cached
        assert (await worker.ask()).cached


async def test_worker_takes_nothing_but_a_whole_word_of_its_agent():
    worker = Worker()
    await worker.ask()
    for data in (None, [], {}, {"issuer": 1, "subject": "bob"}, {"subject": "bob"}):
        worker.asking.told(data)
    assert (await worker.ask()).cached


async def test_answer_without_a_user_is_kept_under_no_name():
    worker = Worker(answer(orjson.dumps({"active": True, "jti": "j", "sub": 5})))
    assert (await worker.ask()).subject == ""
