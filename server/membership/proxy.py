"""The nginx in front of the SuperLink: mutual TLS, which Flower 1.39 does not speak (RFC 8446, RFC 5280).

    proxy/nginx.conf   proxy/trusted.pem   proxy/crl.pem   proxy/nginx.pid   proxy/tmp/

1. TLS 1.3 alone; the server's own certificate; a caller has to show one from an authority that is trusted now
   and that is not on that authority's revocation list.
2. Only the Fleet API's calls that a site makes are passed on, to the SuperLink on the loopback address, over TLS.
3. A body may be as large as a model; nothing is kept on the disk that fits into memory; a line that is busy with
   a model is not cut.

Whoever passes is still asked for its key by the SuperLink, and for its signature by the study.
"""

import signal
from enum import Enum
from pathlib import Path

import psutil

from server.federation import Federation
from server.membership.authority_files import revocation_lists
from shared.durable import write_atomically

CALLS = (
    *("ActivateNode", "DeactivateNode", "SendNodeHeartbeat", "PullMessages", "PushMessages"),
    *("PullObject", "PushObject", "ConfirmMessageReceived", "GetRun", "GetFab"),
)
_CONFIGURATION = """\
# Written by `wardround federation proxy`, and again by each renewal and revocation. Test it with `nginx -t -c FILE`.
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path {folder}/tmp/body;
  proxy_temp_path {folder}/tmp/proxy;
  fastcgi_temp_path {folder}/tmp/fastcgi;
  uwsgi_temp_path {folder}/tmp/uwsgi;
  scgi_temp_path {folder}/tmp/scgi;
  server {{
    listen {listen} ssl http2;
    ssl_protocols TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_client_certificate {folder}/trusted.pem;
    ssl_crl {folder}/crl.pem;
    ssl_verify_client on;
    ssl_verify_depth 1;
    ssl_session_tickets off;
    keepalive_timeout 1h;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_buffer_size 8m;  # an object of a model has at most 5 MiB
    client_body_timeout 180s;
    grpc_read_timeout 180s;
    grpc_send_timeout 180s;
    grpc_buffer_size 64k;
    grpc_ssl_verify on;
    grpc_ssl_name localhost;
    grpc_ssl_protocols TLSv1.2 TLSv1.3;
    grpc_ssl_trusted_certificate {folder}/trusted.pem;
    location ~ ^/flwr\\.proto\\.Fleet/({calls})$ {{ grpc_pass grpcs://{upstream}; }}
    location / {{ return 404; }}
  }}
}}
"""


def proxy_folder(federation: Federation) -> Path:
    """Where the proxy's files lie."""
    return federation.folder / "proxy"


def write_proxy(federation: Federation, *, listen: str, upstream: str, now: int) -> Path:
    """Write all that nginx needs.

    Args:
        federation: what it stands before.
        listen: address and port that sites dial, as nginx writes them.
        upstream: address and port of the SuperLink.
        now: Unix seconds.

    Returns:
        The configuration's path.

    Raises:
        TrustError: an authority's key is missing or exposed, or the authority has ended.
    """
    folder = proxy_folder(federation).resolve()
    for place in (folder, folder / "tmp"):
        place.mkdir(mode=0o700, exist_ok=True)
    _write_trust(federation, now=now)
    text = _CONFIGURATION.format(
        folder=folder,
        listen=listen,
        certificate=federation.server_certificate.resolve(),
        key=federation.server_key.resolve(),
        calls="|".join(CALLS),
        upstream=upstream,
    )
    write_atomically(folder / "nginx.conf", text.encode())
    return folder / "nginx.conf"


class Told(Enum):
    """What became of telling the proxy that its files have changed."""

    NO_PROXY = "none is configured"
    HEARD = "the one that runs here reads them"
    NOT_OURS = "one runs here, by another account"
    NOT_FOUND = "none was found running here"


def refresh_proxy(federation: Federation, *, now: int) -> Told:
    """Write the authorities and the revocation list anew, and have the nginx that runs with them read them.

    Whether it is that nginx is seen from its command line: the number in a file that a crash left may by now be
    another process's, which SIGHUP would end.

    Raises:
        TrustError: as `write_proxy`.
    """
    if not (proxy_folder(federation) / "nginx.conf").is_file():
        return Told.NO_PROXY
    _write_trust(federation, now=now)
    try:
        nginx = _running(proxy_folder(federation).resolve())
        if nginx is None:
            return Told.NOT_FOUND
        nginx.send_signal(signal.SIGHUP)
    except psutil.AccessDenied:
        return Told.NOT_OURS
    except psutil.NoSuchProcess:
        return Told.NOT_FOUND
    return Told.HEARD


def _running(folder: Path) -> psutil.Process | None:
    """The nginx that was started with the configuration in a folder; None if there is none here.

    Raises:
        psutil.AccessDenied: who runs under its number cannot be seen.
        psutil.NoSuchProcess: nobody does.
    """
    try:
        process = psutil.Process(int((folder / "nginx.pid").read_text()))
    except (OSError, ValueError, OverflowError):
        return None
    words = " ".join(process.cmdline())  # nginx writes its own into one word: "nginx: master process nginx -c FILE"
    return process if "nginx" in words and str(folder / "nginx.conf") in words else None


def _write_trust(federation: Federation, *, now: int) -> None:
    lists = revocation_lists(federation.folder, now=now)
    write_atomically(proxy_folder(federation) / "trusted.pem", federation.trusted().encode())
    write_atomically(proxy_folder(federation) / "crl.pem", lists)
