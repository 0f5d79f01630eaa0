"""How many requests are under way to a slow server."""

import asyncio

from app.speech.remote.flow import Flow


def test_a_timeout_halves_the_requests_and_answers_let_them_grow() -> None:
    flow = Flow(8)
    flow.timed_out(0.0, 60.0)
    assert flow.limit == 4
    flow.timed_out(1.0, 61.0)  # it was under way together with the first one
    assert flow.limit == 4
    flow.timed_out(60.0, 120.0)
    flow.timed_out(120.0, 180.0)
    flow.timed_out(180.0, 240.0)
    assert flow.limit == 1
    limits = []
    for _ in range(40):
        flow.answered()
        limits.append(flow.limit)
    assert limits[:3] == [2, 2, 3]
    assert limits[-1] == 8


def test_no_more_requests_than_places_are_under_way() -> None:
    async def run() -> int:
        flow, under_way, most = Flow(8), 0, 0
        flow.timed_out(0.0, 1.0)

        async def request() -> None:
            nonlocal under_way, most
            while not flow.has_place:
                await flow.freed()
            with flow.place():
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.001)
                under_way -= 1

        await asyncio.gather(*(request() for _ in range(20)))
        return most

    assert asyncio.run(run()) == 4
