"""A model may not be farther from the one seen last than rounds of training move it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lone_site import START, LoneSite, a_study

from client.policy import Policy
from client.seen_model import FLOOR, check_moved, model_change
from shared.address import Stage
from shared.canonical import digest
from shared.errors import Refusal, WireCode
from shared.update import pack

NORM = float(np.linalg.norm(np.arange(6)))  # of START's one floating-point tensor
UPDATE_OF_ANOTHER = pack({"w": np.zeros((3, 3), np.float32), "n": np.array(1, np.int64)})
MOST = Policy().model_change_at_most


def model(factor: float, *, count: int = 3) -> bytes:
    """START with its floating-point values times a factor: moved by |factor - 1| of their norm."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3) * np.float32(factor)
    return pack({"w": values, "n": np.array(count, np.int64)})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.open()
    yield lone
    lone.close()


def ask(site: LoneSite, number: int, payload: bytes, *, previous: bytes | None = None) -> None:
    """The coordinator sends a model; if the site takes it, its worker works on it."""
    before = digest(previous) if previous is not None else None
    site.tell(site.coordinator.work(number, payload, previous_digest=before), model=payload)
    if site.answering.current is not None:
        site.finish()


def test_a_model_within_the_bound_is_worked_on(site: LoneSite) -> None:
    ask(site, 1, START)
    ask(site, 2, model(0.99 + MOST), previous=START)
    assert (site.refused(), [answer.type for answer in site.answers]) == ([], ["opened", "ready", "ready"])


@pytest.mark.parametrize("factor", [1.01 + MOST, -1e6], ids=["just beyond", "far beyond"])
def test_a_model_beyond_the_bound_is_refused_and_the_honest_one_still_taken(site: LoneSite, factor: float) -> None:
    ask(site, 1, START)
    ask(site, 2, model(factor), previous=START)
    assert site.refused() == [WireCode.MODEL_JUMPED]
    assert "policy.model_change_at_most = 10.0; the model moved by" in site.said[-1]
    assert site.answers[-1].rule == "model_change_at_most"
    assert len(site.entries("model_received")) == 1
    ask(site, 2, model(1.1), previous=START)
    assert site.answers[-1].type == "ready"


def test_whole_numbers_do_not_count(site: LoneSite) -> None:
    ask(site, 1, START)
    ask(site, 2, model(1.0, count=10**9), previous=START)
    assert site.refused() == []


def test_each_round_that_passed_without_this_site_may_have_moved_the_model(tmp_path: Path) -> None:
    lone = LoneSite(tmp_path, study=a_study(rounds=9))
    lone.open()
    ask(lone, 1, START)
    ask(lone, 4, model(1 + 2.9 * MOST))
    assert lone.refused() == []
    ask(lone, 5, model(1 + 100 * MOST), previous=model(1 + 2.9 * MOST))
    assert lone.refused() == [WireCode.MODEL_JUMPED]
    lone.close()


def test_the_policy_sets_the_bound_and_the_ledger_says_how_far_a_model_moved(site: LoneSite) -> None:
    site.set_policy(model_change_at_most=0.5)
    site.open()
    ask(site, 1, START)
    ask(site, 2, model(1.25), previous=START)
    assert [entry.get("moved") for entry in site.entries("model_received")] == [None, 0.25]
    ask(site, 2, model(1.75), previous=START)
    assert site.refused()[-1] == WireCode.MODEL_SWITCHED  # the round has its model
    assert site.answers[-2].type == "ready"


@pytest.mark.parametrize(("share", "taken"), [(0.99, True), (1.01, False)])
def test_a_model_of_zeros_may_move_by_the_absolute_bound(site: LoneSite, share: float, taken: bool) -> None:
    zeros = model(0.0)
    ask(site, 1, zeros)
    ask(site, 2, model(share * MOST * FLOOR * np.sqrt(6) / NORM), previous=zeros)
    assert (site.refused() == []) == taken


def test_the_bound_outlives_a_restart(site: LoneSite) -> None:
    ask(site, 1, START)
    site.start()
    ask(site, 2, model(1e4), previous=START)
    assert site.refused() == [WireCode.MODEL_JUMPED]


def test_trips_that_only_score_are_not_held_against_it(site: LoneSite) -> None:
    ask(site, 1, START)
    ask(site, 2, model(1.5), previous=START)
    far = model(1e4)
    place = site.coordinator.address(Stage.EVALUATE, 3)
    site.tell(site.coordinator.work(3, far, address=place, previous_digest=digest(model(1.5))), model=far)
    site.finish()
    assert site.refused() == []


@pytest.mark.parametrize("reason", ["finished", "stopped", "failed"])
def test_the_bound_outlives_a_close_as_long_as_the_contract_would_hold(tmp_path: Path, reason: str) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=3))
    site.open()
    ask(site, 1, START)
    ask(site, 2, model(1.5), previous=START)
    assert kept(site) == ["seen-000002.safetensors"]
    site.tell(site.coordinator.close(2, reason=reason))
    site.start()
    site.open()
    ask(site, 3, model(1e4), previous=model(1.5))
    assert site.refused() == [WireCode.MODEL_JUMPED]
    assert kept(site) == ["seen-000002.safetensors"]
    site.close()


def test_the_model_of_a_study_that_is_closed_goes_when_its_contract_has_run_out(site: LoneSite) -> None:
    ask(site, 1, START)
    site.pass_days(Policy().contract_days)
    site.coordinator.study = a_study("hearts")
    site.open()
    assert kept(site) == ["seen-000001.safetensors"]  # the other study is still open
    site.coordinator.study = a_study()
    site.tell(site.coordinator.close(1))
    site.coordinator.study = a_study("kidneys")
    site.open()
    assert kept(site) == []


def kept(site: LoneSite) -> list[str]:
    return [path.name for path in (site.folder / "spool").rglob("seen-*")]


def test_the_bound_holds_where_the_disk_knows_no_hard_links(site: LoneSite, tmp_path: Path, elsewhere: Path) -> None:
    def check(number: int, sent: bytes) -> None:
        (elsewhere / "incoming.safetensors").write_bytes(sent)
        work = site.coordinator.work(number, sent)
        assert check_moved(elsewhere / "incoming.safetensors", tmp_path, work=work, policy=Policy()) is None

    check(1, START)
    with pytest.raises(Refusal, match="farther"):
        check(2, model(1e4))
    assert [path.name for path in tmp_path.glob("*seen-*")] == ["seen-000001.safetensors"]


def test_a_change_is_of_models_of_one_table(tmp_path: Path) -> None:
    for name, values in {"a": model(1.0), "b": model(3.0), "other": UPDATE_OF_ANOTHER, "none": b"no model"}.items():
        (tmp_path / name).write_bytes(values)
    assert model_change(tmp_path / "b", tmp_path / "a") == pytest.approx(2.0)
    assert model_change(tmp_path / "b", tmp_path / "a", rounds=4) == pytest.approx(0.5)
    assert model_change(tmp_path / "b", tmp_path / "other") is None
    assert model_change(tmp_path / "b", tmp_path / "none") is None
