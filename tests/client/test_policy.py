"""Each line of a site's policy against what a study asks; and a site that says no, with the line on its console."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_federation import wardround
from lone_site import TENSORS, LoneSite, a_study, opened
from pydantic import ValidationError

from client.jobs import OpenJob
from client.policy import Policy, check_federation, permit, permit_patients
from client.privacy.budget_settings import BudgetSettings
from shared.contract import contract_of
from shared.errors import ConfigError, Refusal, WireCode
from shared.schedule import RoundsSpec
from shared.study import Study
from shared.update import payload_limit

BOUND = BudgetSettings(lifetime_epsilon=8.0)
PRIVATE = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "patients_per_step": 8}


def asked(policy: Policy, study: Study) -> Refusal | None:
    return permit(policy, study, contract_of(study, TENSORS, site="north"))


def the_line(policy: Policy, study: Study) -> tuple[str, str]:
    no = asked(policy, study)
    assert no is not None and no.wire_code is WireCode.POLICY and no.rule is not None
    return no.rule, no.remedy


def test_without_a_policy_a_usual_study_is_permitted() -> None:
    assert asked(Policy(), a_study()) is None


@given(limit=st.integers(1, 1000), rounds=st.integers(1, 1000))
def test_rounds(limit: int, rounds: int) -> None:
    no = asked(Policy(rounds_at_most=limit), a_study(rounds=rounds))
    assert (no is None) == (rounds <= limit)
    if no is not None:
        assert (no.rule, no.remedy) == (
            "rounds_at_most",
            f"policy.rounds_at_most = {limit}; the study asks for {rounds} rounds.",
        )


@given(spare=st.integers(-50, 50), rounds=st.integers(1, 50))
def test_bytes_of_a_round_and_of_a_study(spare: int, rounds: int) -> None:
    size, study = payload_limit(TENSORS), a_study(rounds=rounds)
    no = asked(Policy(bytes_per_round_at_most=size + spare), study)
    assert (no is None) == (spare >= 0) and (no is None or no.rule == "bytes_per_round_at_most")
    no = asked(Policy(bytes_per_study_at_most=size * rounds + spare), study)
    assert (no is None) == (spare >= 0) and (no is None or no.rule == "bytes_per_study_at_most")


def test_studies_are_named_alone_or_with_their_digest() -> None:
    study = a_study("lungs")
    for listed in ("lungs", f"lungs@{study.digest()}"):
        assert asked(Policy(studies=("hearts", listed)), study) is None
    for listed in ("hearts", f"lungs@{'0' * 64}"):
        assert the_line(Policy(studies=(listed,)), study)[0] == "studies"
    assert the_line(Policy(studies=()), study)[0] == "studies"
    rehearsal = a_study("lungs-rehearsal-2")
    assert asked(Policy(studies=("lungs",)), rehearsal) is not None  # else a study's limits would begin anew
    contract = contract_of(rehearsal, TENSORS, site="north")
    assert permit(Policy(studies=("lungs",)), rehearsal, contract, rehearsed=True) is None


@pytest.mark.parametrize(
    ("training", "key"),
    [
        ({"batch_size": 1, "steps_per_round": 5}, "batch_size_at_least"),
        ({"batch_size": 1, "epochs_per_round": 1}, "batch_size_at_least"),
        ({"batch_size": 8, "steps_per_round": 1}, "steps_at_least"),
        ({"batch_size": 1, "steps_per_round": 0}, None),  # the model as it came, whatever the batch is
        ({"batch_size": 2, "steps_per_round": 2}, None),
    ],
)
def test_a_round_must_do_enough(training: dict[str, Any], key: str | None) -> None:
    no = asked(Policy(steps_at_least=2), a_study(training=training))
    assert (no.rule if no else None) == key


def test_what_a_model_that_draws_memorises_is_permitted_or_refused() -> None:
    task = {"kind": "generation", "classes": ["chest"], "accept_memorisation": True}
    images, model = {"size_px": 16}, {"name": "vae"}
    unbounded = a_study(task=task, images=images, model=model)
    assert the_line(Policy(), unbounded) == (
        "memorisation",
        "policy.memorisation = false; the model of this study can memorise images of patients and give them back.",
    )
    assert the_line(Policy(budget=BOUND), unbounded)[0] == "memorisation"
    assert asked(Policy(memorisation=True), unbounded) is None
    training = {"steps_per_round": 2, "batch_size": 8, "momentum": 0.0}
    bounded = {"noise_multiplier": 2.0, "sampling_rate": 0.05, "patients_per_step": 8}
    quiet = a_study(
        task=task | {"accept_memorisation": False}, images=images, model=model, privacy=bounded, training=training
    )
    assert asked(Policy(), quiet) is None


def test_only_metrics_that_are_listed() -> None:
    study = a_study()
    every = tuple(rule.name for rule in contract_of(study, TENSORS, site="north").metrics)
    assert asked(Policy(metrics=every), study) is None
    assert the_line(Policy(metrics=every[1:]), study) == (
        "metrics",
        f"policy.metrics = {every[1:]}; the study asks for {every[0]}.",
    )


def test_whether_updates_may_be_kept_after_their_round() -> None:
    keeping = a_study().model_copy(update={"rounds": RoundsSpec(keep_updates=True)})
    assert asked(Policy(), keeping) is None
    assert asked(Policy(updates_may_be_kept=False), a_study()) is None
    key, remedy = the_line(Policy(updates_may_be_kept=False), keeping)
    assert (key, remedy.startswith("policy.updates_may_be_kept = false; ")) == ("updates_may_be_kept", True)


def test_privacy_is_required_of_whoever_trains() -> None:
    policy, private = Policy(require_privacy=True, budget=BOUND), a_study(model={"norm": "none"}, privacy=PRIVATE)
    assert the_line(policy, a_study()) == (
        "require_privacy",
        "policy.require_privacy = true; the study is not private.",
    )
    assert asked(policy, private) is None
    assert (
        asked(policy, a_study(study={"name": "scores", "kind": "evaluate"}, model={"start_sha256": "0" * 64})) is None
    )
    small = Policy(private_below_patients=20, budget=BOUND)
    assert permit_patients(small, private, patients=0) is None  # noise hides each
    assert permit_patients(small, a_study(), patients=20) is None
    no = permit_patients(small, a_study(), patients=19)
    assert no is not None and (no.wire_code, no.rule) == (WireCode.POLICY, "private_below_patients")


@pytest.mark.parametrize("keys", [{"require_privacy": True}, {"private_below_patients": 20}])
def test_privacy_without_a_bound_is_no_requirement(site: LoneSite, keys: dict[str, Any]) -> None:
    for bound in ({}, {"budget": {"delta": 1e-6}}):
        with pytest.raises(ValidationError, match=r"needs policy\.budget\.lifetime_epsilon"):
            Policy.model_validate(keys | bound)
    config = site.folder / "site.toml"
    (key, value) = next(iter(keys.items()))
    config.write_text(config.read_text().replace("[policy]\n", f"[policy]\n{key} = {str(value).lower()}\n"))
    ended = wardround("site", "start", "--config", config)
    assert ended.exit_code == 3 and "lifetime_epsilon" in ended.stderr


def test_weak_noise_stands_for_no_floor_where_nothing_bounds_it() -> None:
    weak = a_study(
        model={"norm": "none"},
        training={"batch_size": 1, "steps_per_round": 2},
        privacy={"noise_multiplier": 0.2, "sampling_rate": 0.25, "patients_per_step": 1, "images_per_patient": 1},
    )
    assert the_line(Policy(), weak)[0] == "batch_size_at_least"
    assert asked(Policy(budget=BOUND), weak) is None  # the budget refuses what costs more, when the study is opened
    assert permit_patients(Policy(budget=BOUND), weak, patients=1) is None
    few = permit_patients(Policy(), weak, patients=4)
    assert few is not None and few.rule == "patients_at_least"
    thin = permit_patients(Policy(), weak, patients=7)
    assert thin is not None and (thin.wire_code, thin.rule) == (WireCode.POLICY, "batch_size_at_least")
    assert permit_patients(Policy(), weak, patients=8) is None


@given(floor=st.integers(1, 100), patients=st.integers(0, 200))
def test_enough_patients(floor: int, patients: int) -> None:
    no = permit_patients(Policy(patients_at_least=floor), a_study(), patients=patients)
    assert (no is None) == (patients >= floor)
    assert no is None or (no.wire_code, no.rule) == (WireCode.TOO_FEW_PATIENTS, "patients_at_least")


def test_whose_federation_it_is() -> None:
    ours = "0123 4567 89ab cdef 0123 4567 89ab cdef"
    check_federation(Policy(federation="ward", coordinator=ours), federation="ward", coordinator=ours)
    for policy in (Policy(federation="other"), Policy(coordinator=ours[:-1] + "0")):
        with pytest.raises(ConfigError, match=r"policy\.(federation|coordinator) = "):
            check_federation(policy, federation="ward", coordinator=ours)


@pytest.mark.parametrize(
    "keys", [{"rounds": 3}, {"studies": "all"}, {"studies": ["Lungs"]}, {"coordinator": "0123"}, {"rounds_at_most": 0}]
)
def test_what_is_no_policy_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(keys)


# ------------------------------------------------------------ at the site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def test_the_site_says_no_before_it_reads_an_image(site: LoneSite) -> None:
    site.set_policy(rounds_at_most=1)
    site.tell(site.coordinator.open())
    assert [(said.refusal, said.rule) for said in site.answers] == [(WireCode.POLICY, "rounds_at_most")]
    assert not site.hands.jobs
    assert "policy.rounds_at_most = 1; the study asks for 2 rounds." in site.said[-1]


def test_too_few_patients_are_found_when_the_images_are_read(site: LoneSite) -> None:
    site.set_policy(patients_at_least=6)
    site.open()
    assert [(said.refusal, said.rule) for said in site.answers] == [(WireCode.TOO_FEW_PATIENTS, "patients_at_least")]
    assert isinstance(site.hands.jobs[0], OpenJob) and opened().patients["train"] == 5
    assert not site.entries("contract")


def test_a_policy_that_was_tightened_binds_an_open_study(site: LoneSite) -> None:
    site.open()
    site.set_policy(require_privacy=True, budget=BOUND)
    site.tell(site.coordinator.work(1))
    assert (site.answers[-1].refusal, site.answers[-1].rule) == (WireCode.POLICY, "require_privacy")
    assert not site.hands.jobs
    site.tell(site.coordinator.grant(1))  # nor does an update leave that was made before
    assert (site.answers[-1].refusal, site.answers[-1].rule) == (WireCode.POLICY, "require_privacy")
