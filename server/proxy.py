"""The nginx in front of the SuperLink: mutual TLS, which Flower 1.39 does not speak (RFC 8446, RFC 5280).

    proxy/nginx.conf   proxy/trusted.pem   proxy/crl.pem   proxy/nginx.pid   proxy/tmp/

1. TLS 1.3 alone; the server's own certificate; a caller has to show one from an authority that is trusted now
   and that is not on the revocation list.
2. Only the Fleet API's calls that a site makes are passed on, to the SuperLink on the loopback address, over TLS.
3. A body may be as large as a model; nothing is kept on the disk that fits into memory; a line that is busy with
   a model is not cut.

Whoever passes is still asked for its key by the SuperLink, and for its signature by the study.
"""

import contextlib
import os
import signal
from pathlib import Path

from server.authority import revocation_list
from server.authority_files import load_authority, old_revocation_list
from server.federation import Federation
from server.revoked import revoked_serials
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
        TrustError: the authority's key is missing or exposed, or the authority has ended.
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


def refresh_proxy(federation: Federation, *, now: int) -> bool | None:
    """Write the authorities and the revocation list anew, and have nginx read them.

    Returns:
        Whether an nginx that runs was told; None if there is no proxy here, or it does not run.

    Raises:
        TrustError: as `write_proxy`.
    """
    if not (proxy_folder(federation) / "nginx.conf").is_file():
        return None
    _write_trust(federation, now=now)
    with contextlib.suppress(OSError, ValueError):
        pid = int((proxy_folder(federation) / "nginx.pid").read_text())
        try:
            os.kill(pid, signal.SIGHUP)
        except PermissionError:
            return False
        return True
    return None


def _write_trust(federation: Federation, *, now: int) -> None:
    authority, key = load_authority(federation.folder, now=now)
    lists = revocation_list(authority, key, revoked_serials(federation.folder), now=now)
    write_atomically(proxy_folder(federation) / "trusted.pem", federation.trusted().encode())
    write_atomically(proxy_folder(federation) / "crl.pem", lists + old_revocation_list(federation.folder))
