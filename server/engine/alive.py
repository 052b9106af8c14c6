"""Whether a federation's server answers: on this machine it completes a TLS handshake with its certificate.

Asked is the server itself, not the proxy before it, which still answers when the server has ended. Its SuperLink ends
with its supervisor, so one answers for both.
"""

import contextlib
import socket
import ssl

from server.federation import Federation

PATIENCE_S = 5.0


def answers(federation: Federation) -> bool:
    """Whether the server is there for a site, or for the proxy that sites dial."""
    settings = federation.settings
    behind = settings.proxied_port
    host = "::1" if settings.host == "::1" and behind is None else "127.0.0.1"
    with contextlib.suppress(OSError):  # ssl.SSLError is one
        context = ssl.create_default_context(cadata=federation.trusted())
        with (
            socket.create_connection((host, behind or settings.fleet_port), timeout=PATIENCE_S) as line,
            context.wrap_socket(line, server_hostname="127.0.0.1"),
        ):
            return True
    return False
