"""Chooses ports for servers that run as child processes of a test."""

import random
import socket
from itertools import islice

PORTS = range(10_000, 30_000)  # below those that the kernel gives to outgoing connections and to listeners on port 0


def free_ports(count: int) -> list[int]:
    """Returns different ports of 127.0.0.1 that are free now, and are likely to be free when a server takes them.

    A server may take its ports seconds later. Meanwhile the kernel gives none of these ports to another test,
    because they are below those that it chooses from.
    """
    return list(islice(filter(_is_free, random.SystemRandom().sample(PORTS, len(PORTS))), count))


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
