"""A real SFTP server on this machine, and a client that writes files slowly, piece by piece."""

import asyncio
import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh

USER, PASSWORD = "openai", "sftp-secret"


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@dataclass(frozen=True)
class Client:
    """A session with the server. Paths are below the server's folder."""

    session: asyncssh.SFTPClient

    async def send(
        self, path: bytes, content: bytes, *, pieces: int = 1, pause_seconds: float = 0.0, final: bytes | None = None
    ) -> None:
        """Writes the file in pieces, with a pause after each. If there is a `final` name, it is renamed to that."""
        await self.session.makedirs(posixpath.dirname(path) or b".", exist_ok=True)
        size = max(1, -(-len(content) // pieces))
        async with self.session.open(path, "wb") as file:
            for start in range(0, len(content), size):
                await file.write(content[start : start + size])
                await asyncio.sleep(pause_seconds)
        if final is not None:
            await self.session.posix_rename(path, final)


@asynccontextmanager
async def sftp_serving(root: Path) -> AsyncIterator[int]:
    """Runs a server of the files in `root` until the end of the block. Gives its port."""
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=_Server,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        sftp_factory=partial(asyncssh.SFTPServer, chroot=str(root).encode()),
    )
    async with server:
        yield server.get_port()


@asynccontextmanager
async def sftp_client(port: int) -> AsyncIterator[Client]:
    async with (
        asyncssh.connect("127.0.0.1", port, username=USER, password=PASSWORD, known_hosts=None) as connection,
        connection.start_sftp_client(path_encoding=None) as session,
    ):
        yield Client(session)
