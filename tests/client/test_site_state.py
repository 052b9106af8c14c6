"""What a site keeps for its own next round: of the last round that counted, whatever happens in between."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lone_site import START, TENSORS, UPDATE, LoneSite, a_study

from client.jobs import STATE_FILE, RoundJob, ScoreJob
from shared.address import Stage
from shared.canonical import digest
from shared.errors import WireCode
from shared.update import pack, update_table

MODELS = [START, *(pack({"w": np.full((2, 3), n, np.float32), "n": np.array(3, np.int64)}) for n in (1, 2, 3))]
ROUNDED = pack({"w": np.full((2, 3), 0.5, np.float32), "n": np.array(4, np.int64)}, update_table(TENSORS, "bfloat16"))
KEEPS = {"steps_per_round": 2, "batch_size": 8, "algorithm": "fedbn"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    site = LoneSite(tmp_path, study=a_study(rounds=3, training=KEEPS))
    site.open()
    yield site
    site.close()


def ask(site: LoneSite, number: int, *, counted: int) -> RoundJob | None:
    """The work of a round, by the server's word on what counted; the job that came of it."""
    model, before = MODELS[number - 1], len(site.hands.jobs)
    previous = digest(MODELS[number - 2]) if number > 1 else None
    site.tell(site.coordinator.work(number, model, previous_digest=previous, counted_round=counted), model=model)
    jobs = [job for job in site.hands.jobs[before:] if isinstance(job, RoundJob)]
    return jobs[0] if jobs else None


def work(site: LoneSite, number: int, *, counted: int, update: bytes = UPDATE) -> bytes | None:
    """A round from its message to its answer; what it went on from."""
    job = ask(site, number, counted=counted)
    assert job is not None
    went_on_from = job.state.read_bytes() if job.state else None
    (job.out / STATE_FILE).write_bytes(f"state {number}".encode())
    site.finish(update)
    return went_on_from


def states(site: LoneSite) -> list[str]:
    return sorted(path.parent.name[-1] for path in site.folder.glob(f"spool/lungs/round-*/{STATE_FILE}"))


def test_a_round_goes_on_from_the_one_that_counted(site: LoneSite) -> None:
    assert work(site, 1, counted=0) is None
    assert work(site, 2, counted=1) == b"state 1"
    assert states(site) == ["1", "2"]  # the older goes only on the server's word
    assert work(site, 3, counted=2) == b"state 2"
    assert states(site) == ["2", "3"]


def test_what_a_round_that_did_not_count_left_is_not_gone_on_from(site: LoneSite) -> None:
    work(site, 1, counted=0)
    work(site, 2, counted=1)
    assert work(site, 3, counted=1) == b"state 1"
    assert states(site) == ["1", "3"]


def test_a_first_round_that_did_not_count_leaves_nothing(site: LoneSite) -> None:
    work(site, 1, counted=0)
    assert work(site, 2, counted=0) is None
    assert states(site) == ["2"]


def test_a_new_agent_and_a_new_worker_go_on_from_the_same(site: LoneSite) -> None:
    work(site, 1, counted=0)
    begun = ask(site, 2, counted=1)
    assert begun is not None
    (begun.out / STATE_FILE).write_bytes(b"half of it")
    site.hands.die()
    site.answering.worker_died()
    again = site.hands.jobs[-1]
    assert isinstance(again, RoundJob)
    assert again.state == begun.state
    site.start()
    assert work(site, 2, counted=1) == b"state 1"
    assert states(site) == ["1", "2"]


def test_a_round_that_is_asked_again_is_answered_from_the_spool(site: LoneSite) -> None:
    work(site, 1, counted=0)
    work(site, 2, counted=1)
    assert ask(site, 2, counted=1) is None
    assert site.answers[-1].replayed
    assert site.uploads == [UPDATE] * 3
    assert states(site) == ["1", "2"]


def test_the_closing_trip_scores_with_what_counted(site: LoneSite) -> None:
    work(site, 1, counted=0)
    place = site.coordinator.address(Stage.EVALUATE, 4)
    site.tell(site.coordinator.work(4, MODELS[1], address=place, counted_round=1), model=MODELS[1])
    job = site.hands.jobs[-1]
    assert isinstance(job, ScoreJob)
    assert job.state is not None
    assert job.state.read_bytes() == b"state 1"


def test_a_site_that_lost_what_it_kept_says_so(site: LoneSite) -> None:
    work(site, 1, counted=0)
    next(site.folder.glob(f"spool/lungs/round-*/{STATE_FILE}")).unlink()
    assert ask(site, 2, counted=1) is None
    assert site.refused() == [WireCode.STATE_LOST]


def test_a_site_that_lost_a_residual_goes_on_without(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=3, transfer={"update_dtype": "bfloat16"}))
    site.open()
    assert work(site, 1, counted=0, update=ROUNDED) is None
    assert work(site, 2, counted=1, update=ROUNDED) == b"state 1"
    assert site.uploads == [ROUNDED] * 2
    (site.folder / "spool" / "lungs" / "round-000002" / STATE_FILE).unlink()
    assert work(site, 3, counted=2, update=ROUNDED) is None
    assert site.refused() == []
    site.close()


def test_an_update_in_other_bits_than_agreed_does_not_leave(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=3, transfer={"update_dtype": "bfloat16"}))
    site.open()
    work(site, 1, counted=0)
    assert (site.uploads, site.refused()) == ([], [WireCode.CONTRACT])
    site.close()


def test_a_study_that_keeps_nothing_asks_for_nothing(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=3))
    site.open()
    job = ask(site, 1, counted=0)
    assert job is not None
    site.finish()
    job = ask(site, 2, counted=1)
    assert job is not None
    assert job.state is None
    site.close()
