"""Why a line to the server cannot be opened, in one sentence and a remedy.

gRPC reports every such failure as UNAVAILABLE. This module opens one TLS connection of its own and
looks, in this order: is the name known, does the port answer, does it speak TLS, is its certificate
one of the federation's, is it valid now, and is it for this name. It decides nothing about trust:
the line itself is checked by gRPC, with the same CA.
"""

import socket
import ssl

from shared.errors import LinkError

_TIMEOUT_S = 5.0
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 9, 10, 62, 64


def diagnose(host: str, port: int, ca_pem: bytes) -> LinkError:
    """Look at the line once.

    Returns:
        The error to raise. If the look itself succeeds, the error says that the server answered
        late, since the call before it did not get through.
    """
    where = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT_S) as line:
            return _handshake(line, host, where, ca_pem)
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


def _handshake(line: socket.socket, host: str, where: str, ca_pem: bytes) -> LinkError:
    try:
        context = ssl.create_default_context(cadata=ca_pem.decode("ascii"))
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(line, server_hostname=host):
            return LinkError(f"{where} did not answer the call.", remedy="Wait; the server may be starting.")
    except ssl.SSLCertVerificationError as error:
        return _certificate(where, error.verify_code)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError, TimeoutError):
        return LinkError(f"{where} ends the connection at once.", remedy="Wait; the server may be starting or ending.")
    except ssl.SSLError:
        return LinkError(f"{where} does not speak TLS.", remedy="Check the port; a Wardround server always speaks TLS.")


def _certificate(where: str, code: int) -> LinkError:
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
    return LinkError(
        f"The certificate of {where} is not from this federation's CA.",
        remedy="Check the address; if it is right, something between (TLS inspection) or the invitation is wrong.",
    )
