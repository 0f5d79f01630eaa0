from app.process.shutdown import Shutdown


class Draining:
    """Counts how often it is drained."""

    def __init__(self) -> None:
        self.drained = 0

    async def drain(self, grace_seconds: float) -> None:
        self.drained += 1

    async def idle(self) -> None:
        pass


async def test_a_second_drain_does_not_drain_the_parts_again() -> None:
    runner, sender = Draining(), Draining()
    shutdown = Shutdown([(runner, 1.0), (sender, 1.0)])
    await shutdown.drain()
    await shutdown.drain()
    assert (runner.drained, sender.drained) == (1, 1)
