"""A round with two sites that reach the server through real forward proxies, one of which asks for a password."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from live_federation import LiveFederation, answer, images
from tinyproxy import Tinyproxy, tinyproxy

pytestmark = pytest.mark.slow
LOGINS = {"openly": None, "password": "ward:opensesame"}


@pytest.fixture
def proxies(federation: LiveFederation, tmp_path: Path) -> Iterator[dict[str, Tinyproxy]]:
    """By site a proxy that leads to the server alone; each site has joined and is served through its own."""
    with ExitStack() as stack:
        running = {}
        for seed, (site, login) in enumerate(LOGINS.items()):
            (tmp_path / site).mkdir()
            running[site] = stack.enter_context(tinyproxy(tmp_path / site, to=federation.port, login=login))
            enrol(federation, site, tmp_path / site / "folder", seed=seed)
            configure(tmp_path / site / "folder", running[site], login)
            config = tmp_path / site / "folder" / "site.toml"
            federation.start(site, ["site", "start", "--config", str(config)])
            stack.callback(answer, "federation", "revoke", federation.federation, site)
            stack.callback(federation.stop, site)
        yield running


def enrol(federation: LiveFederation, site: str, folder: Path, *, seed: int) -> None:
    invited = answer("federation", "invite", federation.federation, site)["invitation"]
    data = images(folder.with_suffix(".npz"), seed=20 + seed)
    joined = answer("site", "join", invited, folder, "--kind", "npz", "--data", data)
    answer("federation", "admit", federation.federation, joined["request"], "--fingerprint", joined["fingerprint"])


def configure(folder: Path, proxy: Tinyproxy, login: str | None) -> None:
    lines = ["[server]", f'proxy = "{proxy.url}"']
    if login:
        (folder / "proxy.login").write_text(login)
        (folder / "proxy.login").chmod(0o600)
        lines.append('proxy_login_file = "proxy.login"')
    with (folder / "site.toml").open("a") as file:
        file.write("\n".join(["", *lines, ""]))


def test_sites_train_through_their_proxies(
    federation: LiveFederation, proxies: dict[str, Tinyproxy], tmp_path: Path
) -> None:
    study = federation.launch("by-proxy", rounds=1, steps=2, quorum=5)
    federation.finished(study)
    assert set(federation.commits(study)[0].counted) == {*federation.sites, *proxies}
    for site, proxy in proxies.items():
        assert f"CONNECT 127.0.0.1:{federation.port}" in proxy.log.read_text()
        federation.stop(site)  # so that no file comes or goes as they are read
        places = [federation.root / "logs" / f"{site}.log", *(tmp_path / site / "folder").rglob("*")]
        told = [place for place in places if place.is_file() and place.name != "proxy.login"]
        assert not any(b"opensesame" in place.read_bytes() for place in told)
