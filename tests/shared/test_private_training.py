"""Which keys go with `[privacy]`, and what the other refusals tell the reader to do."""

from typing import Any

import numpy as np
import pytest

from shared.address import Address, Stage
from shared.contract import derive_contract, opening_fault, report_fault
from shared.errors import ConfigError
from shared.privacy import Mechanism
from shared.private_training import history_of, mechanism_of, scores_may_leave
from shared.study import Study, parse_study
from shared.tasks import task_for
from shared.update import TensorSpec
from shared.wire import Counts, Open, Opened, Ready

STUDY = """
[study]
name = "chest"
kind = "{kind}"
[task]
classes = ["opacity"]
[model]
norm = "{norm}"
{model}
[training]
{training}
[privacy]
noise_multiplier = 1.0
sampling_rate = 0.1
patients_per_step = 30
{privacy}
[rounds]
count = 5
{rest}
"""
STEPS = "steps_per_round = 4"
_LOGITS, _TRUTH = np.linspace(-1, 1, 4).reshape(-1, 1), np.arange(4) % 2


def study(
    training: str = STEPS,
    *,
    privacy: str = "",
    norm: str = "group",
    model: str = "",
    kind: str = "train",
    rest: str = "",
) -> Study:
    return parse_study(STUDY.format(training=training, privacy=privacy, norm=norm, model=model, kind=kind, rest=rest))


@pytest.mark.parametrize(
    ("asked", "why", "remedy"),
    [
        ({"norm": "batch"}, "model.norm = batch, which mixes the patients", "use group"),
        ({"training": "epochs_per_round = 1"}, "training.steps_per_round of at least 1", "neither a site's data"),
        ({"training": "seconds_per_round = 9"}, "training.steps_per_round of at least 1", "nor its clock"),
        ({"training": "steps_per_round = 0"}, "training.steps_per_round of at least 1", ""),
        ({"training": f'{STEPS}\nalgorithm = "fednova"'}, "fednova normalises by steps", "use fedavg"),
        ({"training": f'{STEPS}\nalgorithm = "fedbn"'}, "fedbn is not shown", "use fedavg"),
        ({"training": f'{STEPS}\nalgorithm = "scaffold"\nmomentum = 0'}, "scaffold releases", "use fedavg"),
        ({"training": f"{STEPS}\namp = true"}, "training.amp", "amp = false"),
        ({"privacy": "images_per_patient = 33"}, "never split over batches", "raise batch_size"),
        ({"rest": '[selection]\nmodel = "best"'}, "compares or sends round what", "leave [selection] out"),
        ({"rest": "[selection]\npatience_rounds = 2"}, "compares or sends round what", "leave [selection] out"),
        (
            {"rest": 'sites = ["east", "west"]\n[selection]\ncross_site = true'},
            "compares or sends round what",
            "leave [selection] out",
        ),
        ({"kind": "evaluate", "model": f'start_sha256 = "{"0" * 64}"'}, "trains on nobody", "leave [privacy] out"),
    ],
)
def test_what_does_not_go_with_privacy_is_refused_by_name(asked: dict[str, str], why: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as refused:
        study(**asked)
    assert why in refused.value.what
    assert remedy in refused.value.what


@pytest.mark.parametrize("rest", ['late = "next"', "buffer = 2"])
def test_late_work_goes_with_privacy(rest: str) -> None:
    assert study(rest=rest).rounds.late == "next"


@pytest.mark.parametrize("privacy", ["noise_multiplier_typo = 1", "delta = 0.1", "images_per_patient = 0"])
def test_a_key_out_of_range_is_refused(privacy: str) -> None:
    with pytest.raises(ConfigError, match=r"privacy\."):
        study(privacy=privacy)


def test_what_goes_with_privacy_does() -> None:
    for training in (STEPS, f'{STEPS}\nalgorithm = "fedprox"\nproximal_mu = 0.1', f'{STEPS}\noptimizer = "adam"'):
        for norm in ("none", "group", "instance"):
            assert study(training, norm=norm).privacy is not None
    assert study(rest='sample = 0.5\nlate = "next"\n[images]\naugment = "light"').privacy is not None


def test_a_round_is_one_mechanism_and_a_study_its_rounds() -> None:
    one = Mechanism(noise_multiplier=1.0, sampling_rate=0.1, images_per_patient=4, steps=4)
    asked = study().privacy, study().training
    assert mechanism_of(*asked) == one
    assert history_of(*asked, rounds=5) == (one.model_copy(update={"steps": 20}),)
    assert history_of(*asked, rounds=0) == ()
    assert mechanism_of(None, study().training) is None
    assert history_of(None, study().training, rounds=5) == ()


# ------------------------------------------------------------------ what a contract lets out


def place(stage: Stage, number: int) -> Address:
    return Address(study="chest", epoch=1, round=number, attempt=1, stage=stage)


def contract(asked: Study) -> Any:
    tensors = (TensorSpec(name="w", dtype="float32", shape=(2,)),)
    return derive_contract(Open(address=place(Stage.OPEN, 0), study=asked, tensors=tensors, cohort=("a",)), site="a")


def report(stage: Stage = Stage.TRAIN, *, steps: int = 4, split: str | None = None, **changes: Any) -> Ready:
    number = 2 if stage is Stage.TRAIN else 6
    update = "1" * 64 if stage is Stage.TRAIN else None
    scores = (
        () if split is None else (task_for(study().task).score(_LOGITS, _TRUTH, model_digest="0" * 64, split=split),)
    )  # type: ignore[arg-type]
    fields = {"counts": Counts(examples=0, patients=0, steps=steps), "scores": scores, "seconds": {}}
    return Ready(
        address=place(stage, number),
        model_digest="0" * 64,
        update_digest=update,
        update_bytes=8,
        uploaded=False,
        replayed=False,
        **(fields | changes),  # type: ignore[arg-type]
    )


def test_the_contract_names_the_parameters_and_the_mechanism() -> None:
    agreed = contract(study())
    assert agreed.privacy == study().privacy
    assert agreed.mechanism == mechanism_of(study().privacy, study().training)
    assert agreed.digest() != contract(study(privacy="delta = 1e-5")).digest()


def test_a_private_report_says_the_agreed_steps_and_nothing_else() -> None:
    agreed = contract(study())
    assert report_fault(agreed, report()) is None
    assert report_fault(agreed, report(Stage.EVALUATE, steps=0)) is None
    fault = "a private study says no count but the agreed steps, no duration, and not what is withheld"
    for said in (
        report(steps=3),
        report(counts=Counts(examples=1, patients=0, steps=4)),
        report(counts=Counts(examples=0, patients=1, steps=4)),
        report(seconds={"train": 1.0}),
        report(Stage.EVALUATE, steps=4),
    ):
        assert report_fault(agreed, said) == fault


def test_scores_leave_of_test_patients_alone_and_only_if_agreed() -> None:
    withheld, released = contract(study()), contract(study(privacy='test_scores = "released"'))
    final = report(Stage.EVALUATE, steps=0, split="test")
    assert report_fault(withheld, final) == "a private study withholds this score"
    assert report_fault(released, final) is None
    for said in (report(split="validation"), report(Stage.EVALUATE, steps=0, split="validation")):
        assert report_fault(released, said) == "a private study withholds this score"
    assert scores_may_leave(None, "validation")


def test_a_private_study_is_opened_without_counts() -> None:
    def opened(**counts: dict[str, int]) -> Opened:
        said = {"patients": {}, "examples": {}} | counts
        about = {"contract_digest": "0" * 64, "device": "cpu", "fell_back": False, "threads": 1, "software": {}}
        about |= {"terms": {"code": "c" * 64, "floors": {}, "expires": "2030-01-31T12:00:00Z"}}
        return Opened.model_validate({"address": place(Stage.OPEN, 0), **about, **said})

    assert opening_fault(contract(study()), opened()) is None
    for said in (opened(patients={"train": 9}), opened(examples={"test": 0})):
        assert opening_fault(contract(study()), said) == "a private study is opened without counts"
    plain = study().model_copy(update={"privacy": None})
    assert opening_fault(contract(plain), opened(patients={"train": 9})) is None
