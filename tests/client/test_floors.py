"""A round's work is held against the policy's floors as it was done, before any of it leaves."""

from pathlib import Path

import numpy as np
import pytest
from lone_site import COUNTS, DRAWN, UPDATE, LoneSite, a_study

from client.floors import Tally, insist_on_floors
from client.jobs import Drawn, RoundDone, RoundJob
from client.policy import Policy
from shared.errors import Refusal, WireCode
from shared.study import Study
from shared.update import pack, table_of, update_table

PRIVATE = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "patients_per_step": 8}


def hold(policy: Policy, study: Study, worked: RoundDone) -> None:
    insist_on_floors(policy, study, counts=worked.counts, drawn=worked.drawn)


def done(*, steps: int = COUNTS.steps, **drawn: int) -> RoundDone:
    counts = COUNTS.model_copy(update={"steps": steps})
    return RoundDone(counts=counts, scores=(), seconds={}, drawn=DRAWN.model_copy(update=drawn))


@pytest.mark.parametrize(
    ("key", "floor", "worked", "code"),
    [
        ("steps_at_least", 3, done(steps=2), WireCode.POLICY),
        ("batch_size_at_least", 9, done(), WireCode.POLICY),
        ("patients_per_step_at_least", 4, done(step_patients=3), WireCode.TOO_FEW_PATIENTS),
        ("patients_per_round_at_least", 6, done(), WireCode.TOO_FEW_PATIENTS),
    ],
)
def test_each_floor_is_named_when_a_round_is_below_it(key: str, floor: int, worked: RoundDone, code: WireCode) -> None:
    hold(Policy(**{key: floor - 1}), a_study(), worked)
    with pytest.raises(Refusal) as refusal:
        hold(Policy(**{key: floor}), a_study(), worked)
    assert (refusal.value.wire_code, refusal.value.rule) == (code, key)
    assert f"policy.{key} = {floor}; the round came to {floor - 1} " in refusal.value.remedy


def test_a_worker_that_says_nothing_of_whom_it_drew_is_below_every_floor() -> None:
    with pytest.raises(Refusal):
        hold(Policy(), a_study(), RoundDone(counts=COUNTS, scores=(), seconds={}))


def test_a_round_without_a_step_tells_nothing() -> None:
    nothing = RoundDone(counts=COUNTS.model_copy(update={"steps": 0}), scores=(), seconds={})
    hold(Policy(), a_study(), nothing)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("w", "n", "leaves"), [(0.0, 3, True), (0.5, 3, False), (0.0, 4, False), (np.nan, 3, False)])
def test_a_round_without_a_step_that_changes_the_model_is_refused(
    tmp_path: Path, w: float, n: int, leaves: bool, dtype: str
) -> None:
    site = LoneSite(tmp_path, study=a_study(transfer={"update_dtype": dtype}))
    site.open()
    site.tell(site.coordinator.work(1))
    job = site.hands.jobs[-1]
    assert isinstance(job, RoundJob)
    update = {"w": np.full((2, 3), w, np.float32), "n": np.array(n)}
    (job.out / "update.safetensors").write_bytes(pack(update, update_table(table_of(update), dtype)))
    site.answering.hear(done(steps=0))
    assert (site.answers[-1].type == "ready") == leaves
    assert len(site.uploads) == leaves
    assert ("came to 0 steps, and its update changes the model" in site.said[-1]) != leaves
    site.close()


def test_of_a_private_round_nothing_is_measured() -> None:
    private = a_study(model={"norm": "none"}, privacy=PRIVATE)
    hold(Policy(patients_per_round_at_least=1000), private, done())


def test_nothing_of_a_round_below_a_floor_leaves(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.set_policy(patients_per_round_at_least=6)
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    said = site.answers[-1]
    assert (said.type, said.refusal, said.rule) == ("refused", WireCode.TOO_FEW_PATIENTS, "patients_per_round_at_least")
    assert site.uploads == []
    assert "policy.patients_per_round_at_least = 6; the round came to 5 different patients" in site.said[-1]
    site.set_policy()
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"
    site.close()


@pytest.mark.parametrize("asked", ["the report again", "the update"])
def test_finished_work_is_held_against_a_floor_that_was_raised_since(tmp_path: Path, asked: str) -> None:
    site = LoneSite(tmp_path)
    site.open()
    site.tell(site.coordinator.work(1, slot=0))
    site.finish()
    site.set_policy(patients_per_round_at_least=6)
    site.open()  # the floors are another contract's now
    site.tell(site.coordinator.work(1) if asked == "the report again" else site.coordinator.grant(1))
    assert (site.answers[-1].refusal, site.answers[-1].rule) == (
        WireCode.TOO_FEW_PATIENTS,
        "patients_per_round_at_least",
    )
    assert site.uploads == []
    site.set_policy(patients_per_round_at_least=5)
    site.open()
    site.tell(site.coordinator.grant(1))
    assert site.uploads == [UPDATE]
    site.close()


def test_whom_the_steps_drew_is_counted_over_whole_steps() -> None:
    tally = Tally(np.array([0, 0, 0, 1, 2, 2, 3]), batch_size=3)
    for batch in ([0, 1, 3], [4, 5, 6], [2]):
        tally.note(np.array(batch))
    assert tally.drawn == Drawn(patients=4, step_images=3, step_patients=2)


def test_a_site_smaller_than_a_batch_has_whole_steps_of_all_its_images() -> None:
    tally = Tally(np.array([0, 0, 1]), batch_size=8)
    assert tally.drawn == Drawn()
    tally.note(np.array([2, 0, 1]))
    assert tally.drawn == Drawn(patients=2, step_images=3, step_patients=2)


def test_an_image_that_a_step_draws_twice_is_one() -> None:
    tally = Tally(np.arange(6), batch_size=4)
    tally.note(np.array([3, 3, 3, 3]))
    assert (tally.drawn.step_images, tally.drawn.step_patients) == (1, 1)
    tally.note(np.array([0, 1, 2, 4]))
    assert (tally.drawn.step_images, tally.drawn.step_patients, tally.drawn.patients) == (1, 1, 5)
