"""A cohort counts by the peers whose keys a person here has compared, and by no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import answer, wardround
from lone_site import LoneSite

from client.peers import FILE_NAME, Confirmed, believed, confirm, read_peers
from shared.errors import WireCode
from shared.wire import Open

ONE, OTHER = ("0000 1111 2222 3333 4444 5555 6666 7777", "ffff eeee dddd cccc bbbb aaaa 9999 8888")
SAID = {"by": "Ada", "at": "2026-01-02T03:04:05.000Z"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def opening(site: LoneSite, **told: str) -> Open:
    """The coordinator opens the study with a cohort of this site and others, whose keys it names."""
    plain = site.coordinator.open()
    return plain.model_copy(update={"cohort": (*plain.cohort, "east", "west"), "fingerprints": told})


def config(site: LoneSite) -> tuple[str, Path]:
    return "--config", site.folder / "site.toml"


def test_only_a_confirmed_key_of_a_member_counts(site: LoneSite) -> None:
    peers = {name: Confirmed(fingerprint=ONE, **SAID) for name in ("east", "south", "north")}
    own = site.coordinator.open().cohort[0]
    assert believed(opening(site, east=ONE, west=ONE, south=ONE), peers, site=own) == ("east",)
    assert believed(opening(site, east=OTHER), peers, site=own) == ()
    assert believed(opening(site), peers, site=own) == ()
    assert believed(opening(site, **{own: ONE}), {own: peers["east"]}, site=own) == ()


def test_a_study_with_too_few_peers_is_refused_until_one_is_confirmed(site: LoneSite) -> None:
    site.set_policy(peers_at_least=1)
    site.tell(opening(site, east=ONE))
    assert site.refused() == [WireCode.POLICY]
    assert site.answers[-1].rule == "peers_at_least"
    assert any("0 are confirmed here" in line for line in site.said)
    answer("site", "peers", "confirm", "east", ONE.upper(), "--by", "Ada", *config(site))
    site.tell(opening(site, east=ONE))
    site.finish()
    assert site.answers[-1].type == "opened"


def test_a_peer_that_is_forgotten_stops_an_open_study(site: LoneSite) -> None:
    site.set_policy(peers_at_least=1)
    confirm(site.folder, "east", Confirmed(fingerprint=ONE, **SAID))
    site.tell(opening(site, east=ONE))
    site.finish()
    listed = answer("site", "peers", *config(site))
    assert [(row["name"], row["standing"]) for row in listed["peers"]] == [("east", "confirmed by Ada on 2026-01-02")]
    answer("site", "peers", "forget", "east", *config(site))
    assert answer("site", "peers", *config(site))["peers"][0]["standing"] == "not confirmed"
    site.tell(site.coordinator.work(1))
    assert site.answers[-1].refusal is WireCode.POLICY
    assert not site.hands.jobs or site.hands.jobs[-1].job == "open"


def test_a_key_that_differs_from_the_one_confirmed_is_shown(site: LoneSite) -> None:
    confirm(site.folder, "east", Confirmed(fingerprint=OTHER, **SAID))
    site.tell(opening(site, east=ONE))
    site.finish()
    shown = wardround("site", "peers", *config(site)).stdout
    assert "DIFFERS" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_what_is_no_fingerprint_and_this_site_itself_are_refused(site: LoneSite) -> None:
    own = site.coordinator.open().cohort[0]
    for name, given in (("east", "0000 1111"), ("east", ONE[:-1] + "x"), (own, ONE)):
        assert wardround("site", "peers", "confirm", name, given, *config(site)).exit_code == 3
    assert wardround("site", "peers", "forget", "east", *config(site)).exit_code == 3
    assert not (site.folder / FILE_NAME).exists()
    (site.folder / FILE_NAME).write_text('{"../east": {}}')
    assert wardround("site", "peers", *config(site)).exit_code == 3
    (site.folder / FILE_NAME).unlink()
    assert read_peers(site.folder) == {}
