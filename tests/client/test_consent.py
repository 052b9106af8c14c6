"""A site whose policy is `ask` or has hours: a study waits, and goes on by what a person decided."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_federation import answer, wardround
from lone_site import TENSORS, LoneSite

from client.hours import within
from client.jobs import OpenJob
from shared.address import Stage
from shared.errors import WireCode
from shared.wire import Close, Rehearse


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.set_policy(studies="ask")
    yield lone
    lone.close()


def config(site: LoneSite) -> Path:
    return site.folder / "site.toml"


def approve(site: LoneSite, *, verb: str = "approve", study: str = "lungs") -> None:
    flags = ("--contract", site.waiting(study)) if verb == "approve" else ("--reason", "no time")
    answer("site", verb, study, "--config", config(site), "--by", "Dr. Who", "--yes", *flags)


def test_a_study_waits_until_a_person_approves_it(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    site.tell(site.coordinator.open(attempt=2))
    assert site.refused() == [WireCode.AWAITS_APPROVAL] * 2 and not site.hands.jobs
    assert [line for line in site.said if "waits" in line] == [
        "The study lungs waits for approval. Show it to whoever decides: "
        f"wardround site approve lungs --config {config(site)}"
    ]
    approve(site)
    site.open()
    assert site.answers[-1].type == "opened"
    (approved,) = site.entries("approval")
    (agreed,) = site.entries("contract")
    assert (approved["person"], approved["verdict"], approved["contract"]) == (
        "Dr. Who",
        "approved",
        agreed["contract"],
    )
    assert (agreed["approved_by"], agreed["person"], agreed["decided"]) == ("person", "Dr. Who", approved["decided"])
    site.tell(site.coordinator.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"


def test_waiting_and_approval_outlive_the_agent(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    site.start()
    approve(site)
    site.start()
    site.open()
    site.open()  # by a new owner of the study
    assert [said.type for said in site.answers] == ["refused", "opened", "opened"]
    assert len(site.entries("approval")) == 1


def test_what_was_denied_is_refused(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    approve(site, verb="deny")
    site.tell(site.coordinator.open())
    assert (site.answers[-1].refusal, site.answers[-1].rule) == (WireCode.DENIED, "studies")
    assert site.entries("approval")[0]["reason"] == "no time"
    approve(site)  # a person may think again
    site.open()
    assert site.answers[-1].type == "opened"


def test_an_approval_is_of_one_contract_alone(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    approve(site)
    study = site.coordinator.study
    site.coordinator.study = study.model_copy(update={"rounds": study.rounds.model_copy(update={"count": 3})})
    site.tell(site.coordinator.open())
    assert site.refused() == [WireCode.AWAITS_APPROVAL] * 2


def test_a_script_approves_the_contract_that_was_read_and_none_that_came_since(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    read, study = site.waiting(), site.coordinator.study
    site.coordinator.study = study.model_copy(update={"rounds": study.rounds.model_copy(update={"count": 99})})
    site.tell(site.coordinator.open())
    command = ("site", "approve", "lungs", "--config", config(site), "--by", "N")
    for flags, why in (
        (("--yes",), "another one may have come"),
        (("--yes", "--contract", read), f"the contract {site.waiting()}, and not the one named"),
        (("--contract", read), "and not the one named"),
    ):
        refused = wardround(*command, *flags)
        assert refused.exit_code == 3 and why in " ".join(refused.stderr.split())
    assert site.site.approvals.decision("lungs", site.waiting()) is None
    approve(site)
    assert site.site.approvals.decision("lungs", site.waiting()) is not None


def test_a_decision_that_the_site_did_not_sign_is_none(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    approve(site)
    file = site.folder / "approvals" / "lungs.decision"
    sealed = bytearray(file.read_bytes())
    sealed[-1] ^= 1
    file.write_bytes(bytes(sealed))
    site.tell(site.coordinator.open())
    assert site.refused() == [WireCode.AWAITS_APPROVAL] * 2


def test_an_open_study_waits_where_the_policy_has_become_ask(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.open()
    assert site.entries("contract")[0]["approved_by"] == "policy.studies = any"
    site.set_policy(studies="ask")
    site.tell(site.coordinator.work(1))
    assert site.refused() == [WireCode.AWAITS_APPROVAL]
    site.close()


def test_a_study_that_ended_waits_no_longer(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    site.tell(Close(address=site.coordinator.address(Stage.CLOSE, 1), reason="stopped"))
    decided = wardround(
        "site", "approve", "lungs", "--config", config(site), "--by", "N", "--yes", "--contract", "0" * 64
    )
    assert decided.exit_code == 3 and "No study lungs waits here" in decided.stderr


def test_nothing_is_rehearsed_that_nobody_approves(site: LoneSite) -> None:
    say = site.coordinator
    site.tell(
        Rehearse(
            address=say.address(Stage.REHEARSE, 0),
            study=say.study,
            tensors=TENSORS,
            model_digest="0" * 64,
            payload_bytes=1,
            sent_at=0.0,
        )
    )
    assert (site.answers[-1].refusal, site.answers[-1].rule) == (WireCode.POLICY, "studies")


def test_what_a_person_reads(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    refused = wardround("site", "approve", "lungs", "--config", config(site))
    assert refused.exit_code == 3 and "--by NAME" in refused.stderr
    shown = refused.stderr
    assert f"The contract {site.waiting()}" in shown and "payload_bytes" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    full = wardround("site", "approve", "lungs", "--config", config(site), "--full").stderr
    assert full.index('"payload_bytes"') < full.index("asks north for the study lungs")  # the plain words stand last
    flags = ("--by", "N", "--yes", "--contract", site.waiting())
    said = answer("site", "approve", "lungs", "--config", config(site), *flags)
    words = " ".join(said["words"])
    for part in ("lungs", "2 rounds", "2 steps, 8 images a step", "basic_cnn", "an update of 2 tensors", "not private"):
        assert part in words, part


def test_what_was_approved_is_approved_once(site: LoneSite) -> None:
    site.tell(site.coordinator.open())
    approve(site)
    before = site.site.approvals.decision("lungs", site.waiting())
    again = wardround("site", "approve", "lungs", "--config", config(site), "--by", "Dr. No")  # nobody need say yes
    assert again.exit_code == 0 and "lungs was approved already by Dr. Who on" in again.stdout
    assert site.site.approvals.decision("lungs", site.waiting()) == before


def test_who_asks_for_no_study_that_waits_is_told_so(site: LoneSite) -> None:
    refused = wardround("site", "approve", "lung", "--config", config(site), "--by", "N", "--yes")
    assert refused.exit_code == 3 and "No study lung waits here" in refused.stderr


def test_outside_a_sites_folder_its_configuration_is_asked_for(tmp_path: Path) -> None:
    refused = wardround("site", "approve", "lungs", "--config", tmp_path / "site.toml")
    assert refused.exit_code == 3
    assert 0 < refused.stderr.find("--config") < refused.stderr.find("join`")  # who has joined is not sent to join


# ------------------------------------------------------------ hours


def test_outside_its_hours_a_site_waits(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    local = datetime.fromisoformat(site.site.now()).astimezone()
    ahead = (local + timedelta(hours=6)).strftime("%H:00"), (local + timedelta(hours=8)).strftime("%H:00")
    site.set_policy(hours=("-".join(ahead),))
    site.tell(site.coordinator.open())
    assert site.refused() == [WireCode.OUT_OF_HOURS] and not site.hands.jobs
    site.set_policy(hours=("00:00-24:00",))
    site.open()
    assert isinstance(site.hands.jobs[0], OpenJob) and site.answers[-1].type == "opened"
    site.close()


@pytest.mark.parametrize(
    ("window", "at", "inside"),
    [
        ("08:00-17:30", "2026-01-05 08:00", True),
        ("08:00-17:30", "2026-01-05 17:30", False),
        ("19:00-07:00", "2026-01-05 06:59", True),
        ("19:00-07:00", "2026-01-05 12:00", False),
        ("mon-fri 19:00-07:00", "2026-01-10 06:00", True),  # Saturday, of Friday's night
        ("mon-fri 19:00-07:00", "2026-01-12 06:00", False),  # Monday, of Sunday's
        ("sat-sun 00:00-24:00", "2026-01-11 23:59", True),
        ("sun 00:00-24:00", "2026-01-10 12:00", False),
        ("fri-mon 12:00-13:00", "2026-01-12 12:30", True),
        ("fri-mon 12:00-13:00", "2026-01-14 12:30", False),
    ],
)
def test_windows(window: str, at: str, inside: bool) -> None:
    assert within((window,), datetime.fromisoformat(at)) is inside


@given(at=st.datetimes(), hour=st.integers(0, 23))
def test_a_window_and_its_complement_are_every_time_once(at: datetime, hour: int) -> None:
    start, end = f"{hour:02}:00", f"{(hour + 8) % 24:02}:00"
    assert within((f"{start}-{end}",), at) != within((f"{end}-{start}",), at)
    assert within((), at)
