"""What `serve` needs to know about its address before anything slow begins."""

import socket

from app.api.auth import is_loopback
from app.settings import Settings, SettingsError


def check_exposure(settings: Settings, host: str) -> None:
    """Raises SettingsError if strangers could use the service without a key."""
    if not settings.api_keys and settings.auth == "on" and not is_loopback(host):
        raise SettingsError(
            f"CALLSCRIBE_API_KEYS: set it to serve on {host}, or set CALLSCRIBE_AUTH=off to let everybody in"
        )


def listen(host: str, port: int) -> socket.socket:
    """Raises SettingsError if the address cannot be listened on."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError(f"--host {host} --port {port}: {error.strerror}") from None
