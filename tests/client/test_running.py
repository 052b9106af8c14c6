"""The agent's process between two agents: a file that went wrong meanwhile is waited for, and no signal is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lone_site import LoneSite

from client import running
from client.site import Site, check_settings, open_site
from shared.errors import TrustError

WRONG = '\n[server]\nproxy = "http://proxy:3128"\nproxy_login_file = "not-there"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    lone = LoneSite(tmp_path)
    lone.site.ledger.close()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield lone.folder
    for number, handler in before.items():
        signal.signal(number, handler)


def agents(monkeypatch: pytest.MonkeyPatch, *lives: Callable[[], None]) -> None:
    """Each agent that is run does the next of these, until it has been told something."""
    ahead = iter(lives)

    class Told:
        def __init__(self, site: Site) -> None:
            self.stopped = self.reloading = False

        def stop(self) -> None:
            self.stopped = True

        def reload(self) -> None:
            self.reloading = True

        @property
        def starts_anew(self) -> bool:
            return self.reloading and not self.stopped

        def run(self) -> None:
            next(ahead)()
            assert self.stopped or self.reloading

    monkeypatch.setattr(running, "Agent", Told)
    monkeypatch.setattr(running, "RETRY_S", 0.0)


def tell(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def test_settings_whose_way_cannot_be_gone_are_not_read_anew(folder: Path) -> None:
    check_settings(folder)
    with (folder / "site.toml").open("a") as file:
        file.write(WRONG)
    with pytest.raises(TrustError):
        check_settings(folder)


def test_a_file_that_went_wrong_before_it_was_read_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, said = folder / "site.toml", list[str]()
    before = config.read_text()

    def say(line: str) -> None:
        said.append(line)
        if "not-there" in line or "proxy_login_file" in line:
            config.write_text(before)

    def reload_then_break() -> None:
        tell(signal.SIGHUP)()
        config.write_text(before + WRONG)

    agents(monkeypatch, reload_then_break, tell(signal.SIGTERM))
    assert running.serve(folder, console=say)
    assert sum("until this is mended" in line for line in said) == 1


def test_a_sigterm_between_two_agents_is_heard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def told_while_opening(place: Path, *, say: Callable[[str], None]) -> Site:
        opened.append(place)
        if len(opened) == 2:
            tell(signal.SIGTERM)()
        return open_site(place, say=say)

    monkeypatch.setattr(running, "open_site", told_while_opening)
    agents(monkeypatch, tell(signal.SIGHUP), lambda: None)
    assert running.serve(folder, console=lambda _: None)
    assert len(opened) == 2
