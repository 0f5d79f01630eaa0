"""`callscribe webhooks` prints or replaces the secret that signs webhooks, and receives webhooks to try them.

The database is slow to import, so the commands import it when they run.
"""

import asyncio
import signal
from typing import Annotated

import typer

from app.cli.preparation import checked_settings, why_no_port
from app.settings import Settings, SettingsError

webhooks_cli = typer.Typer(
    help="Print or replace the secret of webhooks, or receive webhooks to try them.", no_args_is_help=True
)


async def _webhook_secrets(settings: Settings, *, rotate: bool = False) -> list[str]:
    """Returns the valid secrets, the newest first.

    They come from the setting if it is set, otherwise from the database. With `rotate`, the database gets a new one.
    """
    from app.database.embedded import open_database
    from app.deliveries import signing_secrets

    if settings.webhook_secret:
        return [secret.get_secret_value() for secret in settings.webhook_secret]
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        typer.echo(
            f"callscribe: warning: {settings.data_dir} has no database yet, so this makes one, with a new secret. If "
            "your service uses another folder, set CALLSCRIBE_DATA_DIR to it",
            err=True,
        )
    async with open_database(settings.database_url, settings.data_dir) as database, database.transaction() as session:
        await signing_secrets.ensure(session)
        if rotate:
            await signing_secrets.rotate(session)
        return list(await signing_secrets.valid(session))


@webhooks_cli.command("secret")
def print_webhook_secret() -> None:
    """Print the secret that signs webhooks. Receivers need it to verify the signatures."""
    typer.echo(asyncio.run(_webhook_secrets(checked_settings()))[0])


@webhooks_cli.command("rotate")
def rotate_webhook_secret() -> None:
    """Make a new secret and print it. For one day, webhooks are also signed with the old secret."""
    settings = checked_settings()
    if settings.webhook_secret:
        raise SettingsError("CALLSCRIBE_WEBHOOK_SECRET: to rotate, set it to new,old, and a day later to new")
    typer.echo(asyncio.run(_webhook_secrets(settings, rotate=True))[0])


def _verifying_with(secret: str | None) -> tuple[list[str], str]:
    """Returns the secrets that verify signatures, and the name of their origin."""
    from app.deliveries.signing import key_of

    if secret is not None:
        try:
            key_of(secret)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--secret") from None
        return [secret], "--secret"
    settings = checked_settings()
    origin = "CALLSCRIBE_WEBHOOK_SECRET" if settings.webhook_secret else "the service, from its database"
    return asyncio.run(_webhook_secrets(settings)), origin


@webhooks_cli.command("listen")
def listen_for_webhooks(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1 to listen on.")] = 9000,
    secret: Annotated[
        str | None, typer.Option(help="Secret to verify signatures with. Without it, the secret of the service.")
    ] = None,
) -> None:
    """Receive webhooks on this machine, print them and verify their signatures. Stop with Ctrl-C.

    The service sends webhooks to this machine only if CALLSCRIBE_ALLOWED_NETWORKS=127.0.0.0/8 is set.
    """
    from app.cli.webhook_listener import listener

    secrets, origin = _verifying_with(secret)
    for stop in (signal.SIGINT, signal.SIGTERM):  # a shell lets its background programs ignore SIGINT
        signal.signal(stop, signal.default_int_handler)
    try:
        with listener("127.0.0.1", port, secrets, typer.echo) as receiver:
            address = f"http://127.0.0.1:{receiver.server_port}/"
            typer.echo(f"Receiving at {address} until Ctrl-C; verifying with the secret of {origin}", err=True)
            receiver.serve_forever()
    except OSError as error:
        raise SettingsError(f"--port {port}: {why_no_port(error)}") from None
    except KeyboardInterrupt:
        return
