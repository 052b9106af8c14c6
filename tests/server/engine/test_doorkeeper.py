"""What the coordinator's console says of the door: once a minute, in our own words alone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.provision import provision
from server.engine.doorkeeper import LONGEST_HOLD_S, LONGEST_LINE, QUIET_S, Doorkeeper, printable
from server.federation import load_federation
from server.membership.authority import SERVER_DAYS
from server.membership.enrolment import ENTRY_DAYS
from server.membership.renewal import renew_server_certificate, renew_sites
from server.study_folder import REMARKS_FILE
from shared.certificates import DAY_S
from shared.errors import LinkError
from shared.remarks import remark, to_line

NOW = 1_800_000_000
PLAINTEXT = (
    "I1123 13:25:19.958484   10121 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
    "error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context\n"
)


class Door:
    """A federation folder, a doorkeeper, and what it watches: the test's to change."""

    def __init__(self, root: Path) -> None:
        self.folder = provision(
            root, name="ward", host="127.0.0.1", fleet_port=9, sites=["east", "north"], now=NOW
        ).federation
        self.now = float(NOW)
        self.said: list[str] = []
        self.held: Mapping[str, float] = {}
        self.keys = {entry.site: entry.transport_key for entry in load_federation(self.folder).roster.entries}
        self.log = self.folder / "run" / "superlink.log"
        self.write(self.study("old"), f"{to_line('said before')}\n")
        self.keeper = Doorkeeper(self.folder, self, say=self.said.append, clock=lambda: self.now)
        self.keeper.knows(load_federation(self.folder).roster.entries)

    def held_until(self) -> Mapping[str, float]:
        return self.held

    def study(self, name: str) -> Path:
        folder = self.folder / "studies" / name
        folder.mkdir(exist_ok=True)
        return folder / REMARKS_FILE

    def write(self, log: Path, text: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(text)

    def turn(self, *, after_s: float = 0.25) -> list[str]:
        """What is newly said in a turn."""
        self.now += after_s
        before = len(self.said)
        self.keeper.turn()
        return self.said[before:]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_a_quiet_door_is_silent(door: Door) -> None:
    door.keeper.check_certificate()
    assert door.turn() == []


# ------------------------------------------------------------------ refused callers


def test_a_refused_caller_is_told_once_a_minute_with_the_number_of_tries(door: Door) -> None:
    door.write(door.log, 3 * PLAINTEXT)
    (line,) = door.turn()
    assert line.startswith("A caller without TLS was refused. ")
    door.write(door.log, PLAINTEXT)
    assert door.turn() == []
    door.write(door.log, PLAINTEXT)
    assert door.turn(after_s=QUIET_S) == [f"{line} (3 more times since this was last said.)"]


def test_nothing_of_a_strange_line_is_repeated(door: Door) -> None:
    door.write(door.log, "2026-11-23T13:43:12.205Z a caller's own words\n\x1b[2J\n")
    assert door.turn() == []


def test_the_log_of_a_new_superlink_is_read_from_its_start(door: Door) -> None:
    door.write(door.log, PLAINTEXT)
    assert len(door.turn()) == 1
    door.log.replace(door.log.with_suffix(".log.1"))
    door.write(door.log, PLAINTEXT)
    assert len(door.turn(after_s=QUIET_S)) == 1


# ------------------------------------------------------------------ places


def test_a_place_that_is_held_too_long_is_a_strangers(door: Door) -> None:
    door.held = {door.keys["north"]: NOW + 3600, door.keys["east"]: NOW + 20}
    (line,) = door.turn()
    assert line.startswith("A stranger holds the place of north for 60 more minutes; ")
    assert door.turn(after_s=10) == []


@pytest.mark.parametrize("hold_s", [20, 60, LONGEST_HOLD_S])
def test_a_place_that_agents_and_stock_supernodes_ask_for_is_theirs(door: Door, hold_s: float) -> None:
    door.held = {door.keys["north"]: NOW + hold_s}
    assert door.turn() == []


def test_a_key_that_was_taken_off_the_roster_is_nobodys_place(door: Door) -> None:
    door.held = {"-----BEGIN PUBLIC KEY-----": NOW + 3600}
    assert door.turn() == []


# ------------------------------------------------------------------ the certificate


def test_an_expired_certificate_is_refused_at_the_start(door: Door) -> None:
    door.now = NOW + SERVER_DAYS * DAY_S
    with pytest.raises(LinkError, match="certificate has expired, so every site refuses it"):
        door.keeper.check_certificate()


@pytest.mark.parametrize(
    ("days_left", "when"),
    [(30, "ends in 30 days"), (29, "ends in 29 days"), (7, "ends in 7 days"), (1, "ends within a day")],
)
def test_the_end_is_announced_thirty_seven_and_one_days_ahead(door: Door, days_left: int, when: str) -> None:
    for entry in load_federation(door.folder).roster.entries:
        renew_sites(door.folder, [entry.site], now=NOW, days=2000)
    door.now = NOW + (SERVER_DAYS - 31) * DAY_S
    door.keeper.check_certificate()
    assert door.said == []
    door.now = NOW + (SERVER_DAYS - days_left) * DAY_S
    told = [f"The server's certificate {when}. Run `wardround federation renew {door.folder}`."]
    assert door.turn() == told
    assert door.turn() == []


def test_the_end_of_a_sites_place_is_announced_with_what_renews_it(door: Door) -> None:
    renew_server_certificate(door.folder, now=NOW + 700 * DAY_S)
    renew_sites(door.folder, ["east"], now=NOW + 700 * DAY_S)
    door.now = NOW + (ENTRY_DAYS - 5) * DAY_S
    (told,) = door.turn()
    assert told.startswith("The place of north on the roster ends in 5 days. Run `wardround federation renew ")
    assert told.endswith("--site north`.")


def test_a_certificate_that_expires_under_way_is_told(door: Door) -> None:
    door.keeper.check_certificate()
    with pytest.raises(LinkError, match="has expired"):
        door.turn(after_s=SERVER_DAYS * DAY_S)
    assert door.turn() == []


def test_a_certificate_that_cannot_be_read_is_left_to_the_superlink(door: Door) -> None:
    (door.folder / "server" / "certificate.pem").write_text("no certificate")
    door.keeper.check_certificate()
    (door.folder / "server" / "certificate.pem").unlink()
    door.keeper.check_certificate()
    assert door.said == []


# ------------------------------------------------------------------ the studies


def test_the_remarks_of_a_study_are_passed_on_and_old_ones_are_not(door: Door) -> None:
    round_1 = remark("Round {round}/{rounds}: counted {counted} of {asked}.", round=1, rounds=2, counted=2, asked=3)
    door.write(door.study("lungs"), f"{to_line(round_1)}\n")
    done = remark("Study {study} is finished after {rounds} rounds.", study="old", rounds=1)
    door.write(door.study("old"), f"{to_line(done)}\n")
    said = door.turn()
    assert said == ["Study lungs: Round 1/2: counted 2 of 3.", "Study old is finished after 1 rounds."]
    assert [getattr(one, "event", "") for one in said] == [round_1.event, done.event]
    assert [getattr(one, "about", {})["study"] for one in said] == ["lungs", "old"]
    assert door.turn() == []


def test_what_is_no_remark_is_not_passed_on(door: Door) -> None:
    door.write(door.study("lungs"), "Traceback (most recent call last):\n  File x\nValueError: 3\n{}\n[1]\n\n")
    assert door.turn() == []


def test_a_line_cannot_steer_the_terminal() -> None:
    assert printable("version \x1b[2J\r\u202e") == "version ?[2J??"
    assert len(printable("x" * 10_000)) == LONGEST_LINE
