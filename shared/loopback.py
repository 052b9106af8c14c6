"""TCP ports of this machine's loopback address.

Decides which port is offered to a program that is about to listen: one below those that the kernel gives to outgoing
connections (32768 and above on Linux), so that none of these takes it before the program does.
"""

import random
import socket

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "::1", "localhost")  # by which this very machine is meant
_PORTS = range(10_000, 32_768)
_TRIES = 1000


def free_port() -> int:
    """A TCP port that nobody listens on at the loopback address, now.

    Raises:
        OSError: none was found.
    """
    tries = random.SystemRandom()
    for port in (tries.choice(_PORTS) for _ in range(_TRIES)):
        with socket.socket() as probe:
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                continue
            return port
    raise OSError("No port of the loopback address is free.")
