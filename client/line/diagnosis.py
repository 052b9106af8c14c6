"""Why a line to the server cannot be opened, in one sentence and a remedy.

gRPC reports every such failure as UNAVAILABLE. This module opens one TLS connection of its own and
looks, in this order: does the proxy let it through, if there is one; is the name known, does the port answer, does it
speak TLS, is its certificate one of the federation's, is it valid now, and is it for this name. Where the certificate
is another's, it looks once more for who issued it. It decides nothing about trust: the line itself is checked by gRPC,
with the same CA.
"""

import contextlib
import socket
import ssl

from client.line.forward_proxy import ForwardProxy, address, open_tunnel
from shared.certificates import issuer_name
from shared.errors import LinkError

_TIMEOUT_S = 5.0
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 9, 10, 62, 64


def diagnose(host: str, port: int, trusted: bytes, *, proxy: ForwardProxy | None = None) -> LinkError:
    """Look at the line once.

    Args:
        host: the server's name or address.
        port: its port.
        trusted: certificates of the authorities that the line takes (PEM).
        proxy: the forward proxy on the way.

    Returns:
        The error to raise. If the look itself succeeds, the error says that the server answered
        late, since the call before it did not get through.
    """
    where = address(host, port)
    try:
        with open_line(host, port, proxy=proxy) as line:
            found = _handshake(line, host, where, trusted)
        return found or _of_another(where, _shown_by(host, port, proxy))
    except LinkError as error:
        return error
    except socket.gaierror:
        return LinkError(
            f"The name {host} is not known.", remedy="Check the server's name in the configuration and DNS."
        )
    except ConnectionRefusedError:
        return LinkError(
            f"Nothing answers at {where}.", remedy="Check that the server runs and that the port is right."
        )
    except OSError:
        return LinkError(f"No way to {where}.", remedy="Check the network, the firewall and the server's address.")


def open_line(host: str, port: int, *, proxy: ForwardProxy | None) -> socket.socket:
    """A TCP connection to the server, through the proxy if there is one.

    Raises:
        OSError: there is none to the server.
        LinkError: there is none through the proxy.
    """
    if proxy is not None:
        return open_tunnel(proxy, host=host, port=port, timeout_s=_TIMEOUT_S)
    return socket.create_connection((host, port), timeout=_TIMEOUT_S)


def _handshake(line: socket.socket, host: str, where: str, trusted: bytes) -> LinkError | None:
    """What is wrong; None if the certificate is from none of the authorities that are trusted."""
    ended = LinkError(f"{where} ends the connection at once.", remedy="Wait; the server may be starting or ending.")
    try:
        line.getpeername()  # fails of a line that is cut already, of which `wrap_socket` would leave a socket open
        context = ssl.create_default_context(cadata=trusted.decode("ascii", "replace"))
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(line, server_hostname=host):
            return LinkError(f"{where} did not answer the call.", remedy="Wait; the server may be starting.")
    except ssl.SSLCertVerificationError as error:
        return _certificate(where, error.verify_code)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return ended
    except ssl.SSLError:
        return LinkError(f"{where} does not speak TLS.", remedy="Check the port; a Wardround server always speaks TLS.")
    except OSError:
        return ended


def _certificate(where: str, code: int) -> LinkError | None:
    if code == _EXPIRED:
        return LinkError(
            f"The certificate of {where} has expired.", remedy="Ask the coordinator to renew it and restart the server."
        )
    if code == _NOT_YET_VALID:
        return LinkError(f"The certificate of {where} is not valid yet.", remedy="Check this computer's clock.")
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        return LinkError(
            f"The certificate of {where} is for another name.",
            remedy="Use the server name that the invitation gives, or ask the coordinator to add this one.",
        )
    return None


def _shown_by(host: str, port: int, proxy: ForwardProxy | None) -> str | None:
    """Who issued the certificate that is shown there, by its own word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said on this line, or believed
    context.set_alpn_protocols(["h2"])
    with (
        contextlib.suppress(OSError, ValueError, LinkError),
        open_line(host, port, proxy=proxy) as line,
        context.wrap_socket(line, server_hostname=host) as shown,
    ):
        return issuer_name(shown.getpeercert(binary_form=True) or b"")
    return None


def _of_another(where: str, issuer: str | None) -> LinkError:
    return LinkError(
        f"The certificate of {where} is not from this federation's CA, but issued by {issuer or 'an unknown one'!r}.",
        remedy="If that is your TLS inspection or antivirus, have it leave this line alone: docs/site-network.md has"
        " the words for its team. Else check the address and the invitation.",
    )
