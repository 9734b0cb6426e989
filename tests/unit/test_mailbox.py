"""The mailbox: senders never wait, nothing is lost, order is kept."""

from __future__ import annotations

from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import Mailbox, MailboxClosed, MailboxFull


async def test_receive_returns_all_that_waits_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    for item in (1, 2, 3):
        mailbox.put_nowait(item)
    assert await mailbox.receive() == [1, 2, 3]
    assert len(mailbox) == 0


async def test_receive_takes_at_most_the_limit_and_leaves_the_rest() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    for item in (1, 2, 3):
        mailbox.put_nowait(item)
    assert await mailbox.receive(limit=2) == [1, 2]
    assert await mailbox.receive(limit=2) == [3]


def test_full_mailbox_refuses_at_once_and_keeps_what_it_has() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    with pytest.raises(MailboxFull) as caught:
        mailbox.put_nowait(3)
    assert caught.value.capacity == 2
    assert mailbox.drain() == [1, 2]


def test_urgent_items_pass_a_full_mailbox_and_take_no_place() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.put_urgent_nowait("urgent 1")
    mailbox.put_nowait("ordinary")
    mailbox.put_urgent_nowait("urgent 2")
    assert len(mailbox) == 3
    assert mailbox.drain() == ["urgent 1", "urgent 2", "ordinary"]


async def test_waiting_receiver_is_woken_once_for_several_puts() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    batches: list[list[int]] = []

    async def receiver() -> None:
        batches.append(await mailbox.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        mailbox.put_nowait(1)
        mailbox.put_urgent_nowait(0)
        mailbox.put_nowait(2)
    assert batches == [[0, 1, 2]]


async def test_receive_returns_nothing_at_the_deadline(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    start = trio.current_time()
    assert await mailbox.receive(deadline=start + 5) == []
    assert trio.current_time() == start + 5


async def test_items_win_over_a_deadline_that_has_passed() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    mailbox.put_nowait(1)
    assert await mailbox.receive(deadline=-inf) == [1]
    assert await mailbox.receive(deadline=-inf) == []


async def test_receive_with_a_past_deadline_lets_other_tasks_run() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(3):
            await mailbox.receive(deadline=-inf)
        assert ran


async def test_cancelled_receive_loses_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    mailbox.put_nowait(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.receive()
    assert scope.cancelled_caught
    assert await mailbox.receive() == [1]


async def test_receive_cancelled_while_waiting_leaves_the_next_item_for_the_next_receiver() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    scope = trio.CancelScope()

    async def receiver() -> None:
        with scope:
            await mailbox.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        # Cancelled first, then an item arrives before the cancelled task ran.
        scope.cancel()
        mailbox.put_nowait(1)
    assert scope.cancelled_caught
    assert await mailbox.receive() == [1]


async def test_item_put_just_before_the_cancellation_is_either_returned_or_still_there() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    scope = trio.CancelScope()
    got: list[int] = []

    async def receiver() -> None:
        with scope:
            got.extend(await mailbox.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        mailbox.put_nowait(1)
        scope.cancel()
    assert got + mailbox.drain() == [1]


async def test_closed_mailbox_refuses_and_still_gives_what_it_has() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    mailbox.put_nowait(1)
    mailbox.close()
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.put_nowait(2)
    with pytest.raises(MailboxClosed):
        mailbox.put_urgent_nowait(2)
    assert await mailbox.receive() == [1]
    with pytest.raises(MailboxClosed) as caught:
        await mailbox.receive()
    assert caught.value.mailbox is mailbox


async def test_closing_wakes_the_receiver() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    async with trio.open_nursery() as nursery:

        async def receiver() -> None:
            with pytest.raises(MailboxClosed):
                await mailbox.receive(deadline=trio.current_time() + 1000)

        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        mailbox.close()


async def test_second_receiver_is_an_error_and_does_not_disturb_the_first() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    got: list[int] = []

    async def receiver() -> None:
        got.extend(await mailbox.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await mailbox.receive()
        mailbox.put_nowait(7)
    assert got == [7]


def test_drain_empties_and_counts_what_was_taken() -> None:
    mailbox: Mailbox[int] = Mailbox(8)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    assert mailbox.drain() == [1, 2]
    assert mailbox.drain() == []
    assert mailbox.taken == 2


async def test_nonsense_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Mailbox[int](0)
    mailbox: Mailbox[int] = Mailbox(1)
    with pytest.raises(ValueError, match="limit"):
        await mailbox.receive(limit=0)
