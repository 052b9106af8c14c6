"""Whether a federation's server answers: on this machine it completes a TLS handshake with its certificate.

Its SuperLink ends with its supervisor, so one answers for both.
"""

import contextlib
import socket
import ssl

from server.federation import Federation

PATIENCE_S = 5.0


def answers(federation: Federation) -> bool:
    """Whether a site on this machine would be heard."""
    settings = federation.settings
    host = settings.host if settings.host == "::1" else "127.0.0.1"
    with contextlib.suppress(OSError):  # ssl.SSLError is one
        context = ssl.create_default_context(cadata=federation.trusted())
        with (
            socket.create_connection((host, settings.fleet_port), timeout=PATIENCE_S) as line,
            context.wrap_socket(line, server_hostname="127.0.0.1"),
        ):
            return True
    return False
