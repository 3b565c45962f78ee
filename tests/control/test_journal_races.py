"""The publisher where two things happen at once, and where clocks lie."""

import asyncio

from tests.control.test_journal import Rig
from tests.feed_fakes import FakeJournal, until


async def test_entry_during_a_renewal_is_enforced_and_published_once():
    """Its number is of the old id, its row is renumbered: neither may be lost."""
    rig = Rig()
    await rig.start()
    await (await rig.enter("z")).done
    await until(lambda: rig.journal.rows[0].position)
    rig.bus.up = False
    waiting = await rig.enter("a")
    read = rig.journal.read

    async def read_later(after_row, *, unpublished=False):
        # The entry's commit came before the renewal, its task runs after it.
        if unpublished and not late.done():
            late.set_result(rig.journal.rows[-1])
            await asyncio.sleep(0.01)
        return await read(after_row, unpublished=unpublished)

    late = asyncio.get_running_loop().create_future()
    append = rig.journal.append

    async def append_late(one):
        kept = await append(one)
        if one.id == "b":
            await late
        return kept

    rig.journal.append, rig.journal.read = append_late, read_later
    entering = asyncio.create_task(rig.enter("b"))
    await until(lambda: len(rig.journal.rows) == 3)
    rig.publisher.mark_seen(9)
    rig.publisher.retry()
    entered, last = await entering, await rig.enter("c")
    rig.bus.up = True
    await until(lambda: (rig.publisher.retry(), entered.position)[1])
    await until(lambda: waiting.position and last.position)
    seen = [one for batch in rig.stream() for one in batch]
    assert sorted(seen) == [(1, "a"), (1, "z"), (2, "b"), (3, "c")]
    assert any(line.startswith("b in index") for line in rig.done)
    await rig.stop()


async def test_known_event_of_an_earlier_id_takes_no_number_of_this_one():
    """A hand-over repeated after a renewal must not push a pending event out."""
    rig = Rig()
    await rig.start()
    await (await rig.enter("old")).done
    await until(lambda: rig.journal.rows[0].position)
    rig.publisher.mark_seen(9)
    await until(lambda: rig.alarms.get(("journal_contradicted", "journal")))
    rig.bus.up = False
    pending = await rig.enter("new")
    assert pending.kept.event.seq == 1
    again = await rig.enter("old")
    assert again.position == 1
    assert rig.publisher.pending == 1
    rig.bus.up = True
    await until(lambda: (rig.publisher.retry(), pending.position)[1])
    await rig.stop()


async def test_prune_keeps_live_events_when_the_wall_clock_jumped_ahead():
    """F31: what a wrong clock calls over would come back to life with the right one."""
    rig = Rig()
    await rig.start()
    rig.clock.advance(1_000)
    rig.clock.set_wall(rig.clock.wall_s() + 86_400)
    await rig.publisher.prune()
    assert rig.journal.pruned == 1_800_000_000 + 1_000 - 600
    rig.clock.set_wall(1_800_000_000 - 500)
    await rig.publisher.prune()
    assert rig.journal.pruned == 1_800_000_000 - 500 - 600
    await rig.stop()


async def test_alarm_about_publishing_ends_when_the_stream_turns_out_to_have_it():
    """Nothing waits any more, so nothing is late."""
    rig = Rig()
    await rig.start()
    rig.bus.up = False
    waiting = await rig.enter("a")
    await until(lambda: rig.alarms.get(("publish", "bus")))
    rig.publisher.mark_seen(9)
    rig.publisher.seen(rig.batch(waiting.kept.event), 9)
    await until(
        lambda: (rig.publisher.retry(), not rig.alarms["publish", "bus"])[1],
        within_s=5,
    )
    await rig.stop()


async def test_alarm_about_a_replaced_id_ends_after_an_hour():
    """It tells of something that happened, and nothing that lasts."""
    rig = Rig(FakeJournal("gw"))
    await rig.start()
    rig.publisher.mark_seen(9)
    await until(lambda: rig.alarms.get(("journal_contradicted", "journal")))
    await rig.publisher.prune()
    assert rig.alarms["journal_contradicted", "journal"]
    rig.clock.advance(3_601)
    await rig.publisher.prune()
    assert not rig.alarms["journal_contradicted", "journal"]
    await rig.stop()


async def test_publisher_goes_on_after_a_fault_in_its_task():
    """Whoever begins the task again finds what waits."""
    rig = Rig()
    await rig.start()
    rig.bus.up = False
    waiting = await rig.enter("a", id="a")
    rig._task.cancel()
    await asyncio.wait([rig._task])
    rig.bus.up = True
    rig._task = asyncio.create_task(rig.publisher.run())
    await until(lambda: (rig.publisher.retry(), waiting.position)[1])
    await rig.stop()
