"""`wardround federation proxy`: what an nginx in front of the server needs; and telling one that runs."""

import time
from pathlib import Path
from typing import Annotated

import typer

from server.federation import existing_federation, listen_address, load_federation, set_proxied_port
from server.membership.proxy import Told, refresh_proxy, write_proxy
from shared.command_line import typed
from shared.console import Answer, answering, facts
from shared.durable import locked

_SAID = {
    Told.NO_PROXY: "",
    Told.HEARD: "\nThe proxy was told.",
    Told.NOT_OURS: "\nHave the proxy read its files again, by the account that runs it.",
    Told.NOT_FOUND: "\nNo proxy was found running here; if one runs, reload it yourself: it reads its files only then.",
}


@answering("federation.proxy")
def proxy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")],
    behind: Annotated[int, typer.Option(help="Loopback port of the server behind it.", min=1, max=65535)] = 9093,
) -> Answer:
    """Write the configuration of an nginx that asks sites for their certificates (mutual TLS)."""
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        set_proxied_port(federation, behind)
        settings = federation.settings
        host = listen_address(settings.host)
        listen = f"{f'[{host}]' if ':' in host else host}:{settings.fleet_port}"
        path = write_proxy(federation, listen=listen, upstream=f"127.0.0.1:{behind}", now=int(time.time()))
    shown = {
        "Configuration": path,
        "Sites dial": f"{settings.host}, port {settings.fleet_port}",
        "Next": f"start {typed('federation', 'serve', folder)} again, then: nginx -c {path.resolve()}",
    }
    return Answer({"configuration": str(path), "port": settings.fleet_port, "behind": behind}, facts(shown))


def told_proxy(folder: Path) -> str:
    """Have an nginx that runs read what has changed; a sentence for the coordinator, or nothing."""
    return _SAID[refresh_proxy(load_federation(folder), now=int(time.time()))]
