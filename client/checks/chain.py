"""Whose certificate a server shows that is not the federation's: what to tell whoever inspects TLS.

Nothing here decides about trust. The certificate is read to name its issuer, after it was refused.
"""

import re
import socket
import ssl

from cryptography import x509
from cryptography.x509.oid import NameOID

_LONGEST = 80  # characters of an issuer's name that are shown
# Words in the issuers of products that inspect TLS, and of antivirus that does.
INSPECTORS = (
    *("zscaler", "netskope", "fortinet", "fortigate", "palo alto", "sophos", "check point", "cisco", "umbrella"),
    *("blue coat", "bluecoat", "symantec", "broadcom", "forcepoint", "websense", "mcafee", "skyhigh", "trellix"),
    *("barracuda", "watchguard", "sonicwall", "juniper", "untangle", "smoothwall", "squid", "mitmproxy", "iboss"),
    *("kaspersky", "eset", "avast", "avg", "bitdefender", "trend micro", "norton", "dr.web", "g data", "f-secure"),
)


def issuer_of(line: socket.socket, host: str) -> str:
    """Who issued the certificate that is shown at the end of a TCP connection, by its own words.

    Raises:
        OSError: no certificate is shown.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is read, never trusted
    with context.wrap_socket(line, server_hostname=host) as shown:
        der = shown.getpeercert(binary_form=True)
    try:
        issuer = x509.load_der_x509_certificate(der or b"").issuer
        words = [str(a.value) for oid in _NAMES for a in issuer.get_attributes_for_oid(oid)]
    except ValueError:
        return "nobody that can be read"
    return ", ".join(words)[:_LONGEST] or "nobody that is named"


def inspects(issuer: str) -> bool:
    """Whether an issuer's name is that of a product that inspects TLS."""
    return any(re.search(rf"\b{re.escape(word)}\b", issuer.lower()) for word in INSPECTORS)


_NAMES = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
