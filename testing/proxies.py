"""Runs nginx and Caddy with the examples of the documentation, in front of a service."""

import getpass
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from testing.ports import free_ports
from testing.service import WAIT_LIMIT_SECONDS, eventually

GUIDE = Path(__file__).parents[1] / "docs" / "deploy.md"
REQUIRED = bool(os.environ.get("NEED_PROXIES"))  # set by .ci/run, so that CI cannot skip these tests
AUTHORITY = "authority.pem"
NGINX = """
user {user}; daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {example}
}}
"""
CADDY = """
{{
	admin off
	auto_https disable_redirects
}}
{example}
"""


def program(name: str) -> str:
    """Returns the path of a proxy's program. Skips the test if there is none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        assert not REQUIRED, f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


def example(language: str) -> str:
    """Returns the only block of this language in the documentation."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert isinstance(block, str)
    return block


@contextmanager
def proxying(name: str, service_port: int, folder: Path) -> Iterator[httpx.Client]:
    """Runs the example of this proxy in front of the service, on a free port with a certificate of its own.

    Gives a client of the proxy. The file AUTHORITY in `folder` has the certificate that clients have to trust.
    """
    [port] = free_ports(1)
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = folder / "chain.pem", folder / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    authority.cert_pem.write_to_path(str(folder / AUTHORITY))
    replacements = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name calls.example.com": "server_name localhost",
        "/etc/ssl/calls.example.com.crt": str(chain),
        "/etc/ssl/calls.example.com.key": str(key),
        "calls.example.com {": f"https://localhost:{port} {{\n\ttls {chain} {key}",
        "127.0.0.1:8000": f"127.0.0.1:{service_port}",
    }
    text = example({"nginx": "nginx", "caddy": "caddyfile"}[name])
    for old, new in replacements.items():
        text = text.replace(old, new)
    file = folder / "configuration"
    file.write_text((NGINX if name == "nginx" else CADDY).format(folder=folder, user=getpass.getuser(), example=text))
    arguments = ["-c", str(file)] if name == "nginx" else ["run", "--config", str(file), "--adapter", "caddyfile"]
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program(name), *arguments], env=environment, stderr=log, stdout=log)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    try:
        eventually(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, (folder / "log").read_text()
        with httpx.Client(
            base_url=f"https://localhost:{port}", verify=trust, timeout=WAIT_LIMIT_SECONDS + 10, trust_env=False
        ) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
