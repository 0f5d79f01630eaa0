"""What goes wrong with a Redis server. It is apart from the client, because most processes use no Redis."""


class RedisTrouble(Exception):
    """A command got no answer, or an error as its answer. The same command may succeed later.

    `word` is `timeout`, `connection_failed`, `tls_failed` or `redis_refused`. The text has no secret and no content.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class GroupMissing(RedisTrouble):
    """The stream or its consumer group does not exist any more, because the server has lost its data."""


class GroupExists(RedisTrouble):
    """The consumer group is there already."""
