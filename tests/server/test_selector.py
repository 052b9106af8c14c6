"""A whole study ends early and takes its best model, once, whoever dies on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lone_site import a_study
from scripted_ward import SITES, PowerCut, Reply, Ward, ranked, ready, trained

from server.amending import amend
from server.history import StudyHistory
from server.records import ModelChosen, TrainingEnded
from server.report.words import why_chosen
from server.study_folder import StudyFolder
from shared.address import Stage
from shared.canonical import digest
from shared.errors import StudyError
from shared.metrics import Score
from shared.wire import Counts, Work

BEST: dict[str, Any] = {"model": "best"}
ROUNDS = {"count": 5, "quorum": 2}
RISING_AND_FALLING = (0, 2, 4, 3, 3, 1)  # of 4, the AUROC of the models after rounds 0 to 5


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


class Script:
    """Sites that train as usual and score the model after round n with `figures[n]` quarters.

    Args:
        figures: by the rounds behind the model.
        absent: by site, in which rounds, trips included, it stays silent.
        hook: sees each message first; what it returns is the answer.
        keeps: sites whose policy keeps their statistics, so that they tell their own AUROC alone.
        withholds: sites whose policy withholds their scores.
    """

    def __init__(
        self,
        figures: tuple[int | None, ...] = RISING_AND_FALLING,
        *,
        absent: dict[str, set[int]] | None = None,
        hook: Callable[[str, Work], Reply] = lambda site, work: None,
        keeps: tuple[str, ...] = (),
        withholds: tuple[str, ...] = (),
    ) -> None:
        self.keeps, self.withholds = keeps, withholds
        self.figures, self.absent, self.hook = figures, absent or {}, hook
        self.models: dict[str, int] = {}  # digest -> rounds behind it

    def __call__(self, site: str, message: Any) -> Reply:
        if not isinstance(message, Work):
            return None
        if message.address.stage is Stage.TRAIN:
            self.models.setdefault(message.model_digest, message.address.round - 1)
        if message.address.stage is Stage.VALIDATE:
            self.models.setdefault(message.model_digest, max(self.models.values()) + 1)
        return self.hook(site, message) or self._answer(site, message)

    def _answer(self, site: str, work: Work) -> Reply:
        quarters = self.figures[self.models.get(work.model_digest, 0)]
        if work.address.round in self.absent.get(site, ()):
            return None
        splits = ("validation", "test") if work.address.stage is Stage.EVALUATE else ("validation",)
        told: dict[str, Any] = {"scores": tuple(ranked(work, quarters, split) for split in splits)}
        if site in self.keeps:
            told["scores"] = tuple(map(coarse, told["scores"]))
        if site in self.withholds:
            told = {"scores": (), "withheld": splits}
        if work.address.stage is Stage.TRAIN:
            return trained(site, work, **told)
        return ready(work, None, examples=0, **told)


def coarse(score: Score) -> Score:
    figures = {name: value for name, value in score.figures.items() if name == "auroc"}
    return score.model_copy(update={"statistics": {}, "figures": figures})


def final_model(ward: Ward, name: str = "lungs") -> str:
    return digest((ward.root / "studies" / name / "model.safetensors").read_bytes())


def chosen(history: StudyHistory) -> ModelChosen:
    assert history.chosen is not None
    return history.chosen


def test_the_best_model_is_final_and_test_patients_score_it_alone(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection=BEST)
    found, history = chosen(done.history), done.history
    assert (found.round, found.cause, found.value) == (2, "best", 1.0)
    assert (found.cohort, found.candidates) == (SITES, (0, 1, 2, 3, 4, 5))
    assert {(w.address.round, w.model_digest) for w in done.asked(Stage.VALIDATE)} == {(6, history.model_digest)}
    assert {(w.address.round, w.model_digest) for w in done.asked(Stage.EVALUATE)} == {(7, found.model_digest)}
    assert history.scored["north"].model_digest == history.final_digest == final_model(ward) == found.model_digest
    assert found.model_digest == history.commits[1].model_digest != history.model_digest
    assert {w.previous_digest for w in done.asked(Stage.EVALUATE)} == {history.model_digest}
    kept = sorted(path.name for path in (ward.root / "studies/lungs/models").glob("*.safetensors"))
    assert kept == [f"round-0000{n}.safetensors" for n in (2, 4, 5)] + ["start.safetensors"]


def test_by_default_the_last_model_is_final_and_nothing_is_chosen(ward: Ward) -> None:
    history = ward.run(Script(), rounds=ROUNDS).history
    assert (history.trained, history.chosen) == (None, None)
    assert history.scored["north"].model_digest == history.model_digest == final_model(ward)


def test_patience_ends_the_training_and_the_trips_keep_their_numbers(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection=BEST | {"patience_rounds": 1})
    assert done.history.trained == TrainingEnded(round=4, cause="patience", best=2)
    assert (done.history.last_round, chosen(done.history).round) == (4, 2)
    assert {w.address.round for w in done.asked(Stage.VALIDATE)} == {6}
    assert {w.address.round for w in done.asked(Stage.EVALUATE)} == {7}


def test_the_live_view_knows_that_no_further_round_comes(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection=BEST | {"patience_rounds": 1})
    view = StudyFolder(ward.root / "studies" / "lungs").read_status()
    assert (view["stage"], view["round"], view["committed"]) == ("close", 4, done.history.last_round)


def test_patience_without_a_choice_keeps_the_last_model(ward: Ward) -> None:
    done = ward.run(Script(), rounds=ROUNDS, selection={"patience_rounds": 1})
    assert (done.history.last_round, done.history.chosen) == (4, None)
    assert done.asked(Stage.VALIDATE) == []
    assert {(w.address.round, w.model_digest) for w in done.asked(Stage.EVALUATE)} == {(6, done.history.model_digest)}


def test_the_start_model_may_be_the_best(ward: Ward) -> None:
    history = ward.run(Script((4, 3, 2, 1, 1, 1)), rounds=ROUNDS, selection=BEST).history
    assert (chosen(history).round, chosen(history).model_digest) == (0, final_model(ward))


def test_a_site_whose_updates_are_refused_has_no_say_in_the_choice(ward: Ward) -> None:
    def lie(site: str, work: Work) -> Reply:
        if site != "south":
            return None
        if work.address.stage is Stage.TRAIN:
            answer, update = trained(site, work, scores=(ranked(work, 4 if work.address.round == 1 else 0),))
            return answer.model_copy(update={"counts": Counts(examples=-5, patients=0, steps=0)}), update
        return None

    found = chosen(ward.run(Script(hook=lie), rounds=ROUNDS, selection=BEST).history)
    assert (found.round, found.cohort) == (2, tuple(site for site in SITES if site != "south"))


def test_a_site_that_missed_a_round_takes_that_model_out_of_the_choice(ward: Ward) -> None:
    rounds = ROUNDS | {"deadline_s": 1.5, "grace_s": 0.2}
    script = Script(absent={"south": {3}})  # in round 3 the model of round 2 is scored
    found = chosen(ward.run(script, rounds=rounds, selection=BEST).history)
    assert (found.round, found.cohort, found.candidates) == (3, SITES, (0, 1, 3, 4, 5))


def test_a_site_that_died_takes_none_out(ward: Ward) -> None:
    rounds = ROUNDS | {"deadline_s": 1.5, "grace_s": 0.2}
    script = Script(absent={"south": {4, 5, 6, 7}})
    found = chosen(ward.run(script, rounds=rounds, selection=BEST).history)
    assert (found.round, found.cohort, found.candidates) == (2, ("east", "north"), (0, 1, 2, 3, 4, 5))


def test_where_the_figure_is_not_defined_the_last_model_is_taken(ward: Ward) -> None:
    found = chosen(ward.run(Script((None,) * 6), rounds=ROUNDS, selection=BEST).history)
    assert (found.round, found.cause, found.value, found.cohort) == (5, "undefined", None, SITES)


def test_where_nobody_has_validation_patients_the_last_model_is_taken(ward: Ward) -> None:
    def unscored(site: str, work: Work) -> Reply:
        return trained(site, work) if work.address.stage is Stage.TRAIN else ready(work, None, examples=0)

    found = chosen(ward.run(Script(hook=unscored), rounds=ROUNDS, selection=BEST).history)
    assert (found.round, found.cause, found.candidates) == (5, "unscored", ())


@pytest.mark.parametrize(
    ("stage", "number"), [(Stage.TRAIN, 3), (Stage.TRAIN, 5), (Stage.VALIDATE, 6), (Stage.EVALUATE, 7)]
)
@pytest.mark.parametrize("last_site", [False, True])
def test_a_server_that_dies_goes_on_to_the_same_choice(
    ward: Ward, stage: Stage, number: int, *, last_site: bool
) -> None:
    """Also where some of the sites had reported, and between the choice and the closing trip."""
    selection = BEST | {"patience_rounds": 2}
    calm = ward.run(Script(), name="calm", rounds=ROUNDS, selection=selection).history
    script = Script()

    def cut(site: str, work: Work) -> Reply:
        if (work.address.stage, work.address.round, site == SITES[-1]) == (stage, number, last_site):
            raise PowerCut
        return None

    script.hook = cut
    ward.run(script, name="cut", rounds=ROUNDS, selection=selection)
    script.hook = lambda site, work: None
    resumed = ward.run(script, name="cut", rounds=ROUNDS, selection=selection).history
    assert (resumed.trained, resumed.chosen) == (calm.trained, calm.chosen)
    assert (resumed.final_digest, resumed.epoch) == (calm.final_digest, 2)
    assert final_model(ward, "cut") == final_model(ward, "calm")


def test_the_choice_is_made_once_even_if_a_site_would_score_otherwise_now(ward: Ward) -> None:
    script = Script(hook=_cut_at(Stage.EVALUATE))
    ward.run(script, rounds=ROUNDS, selection=BEST)
    script.hook, script.figures = (lambda site, work: None), (4, 0, 0, 0, 0, 0)
    done = ward.run(script, rounds=ROUNDS, selection=BEST)
    assert chosen(done.history).round == 2
    assert done.asked(Stage.VALIDATE) == []


def test_test_scores_in_the_validation_trip_are_refused(ward: Ward) -> None:
    def liar(site: str, work: Work) -> Reply:
        if site != "east" or work.address.stage is not Stage.VALIDATE:
            return None
        return ready(work, None, examples=0, scores=(ranked(work, 4), ranked(work, 4, "test")))

    history = ward.run(Script(hook=liar), rounds=ROUNDS, selection=BEST).history
    assert [(said.site, said.code.value) for said in history.refusals] == [("east", "contract")]  # type: ignore[union-attr]
    assert sorted(history.validated) == ["north", "south"]
    assert chosen(history).cohort == ("north", "south")


def test_a_chosen_model_that_is_damaged_fails_the_study_before_anybody_scores_it(ward: Ward) -> None:
    def damage(site: str, work: Work) -> Reply:
        if work.address.stage is Stage.VALIDATE:
            (ward.root / "studies/lungs/models/round-00002.safetensors").write_bytes(b"other")
        return None

    done = ward.run(Script(hook=damage), rounds=ROUNDS, selection=BEST)
    assert "model of round 2 is missing or damaged" in getattr(done.history.ended, "reason", "")
    assert done.asked(Stage.EVALUATE) == []


def test_a_study_that_stopped_early_gets_no_more_rounds_and_is_told_what_to_do(ward: Ward) -> None:
    ward.run(Script(hook=_cut_at(Stage.EVALUATE)), rounds=ROUNDS, selection=BEST | {"patience_rounds": 1})
    folder = StudyFolder(ward.root / "studies" / "lungs")
    study = a_study().model_dump() | {"rounds": ROUNDS, "selection": BEST | {"patience_rounds": 1}}
    folder.rewrite(type(a_study()).model_validate(study))
    with pytest.raises(StudyError, match=r"stopped early, after round 4: .* round 2 was better") as caught:
        amend(folder, rounds=9, deadline_s=None, key=ward.federation.coordinator_key)
    assert "patience_rounds" in caught.value.remedy


def _cut_at(stage: Stage) -> Callable[[str, Work], Reply]:
    def cut(site: str, work: Work) -> Reply:
        if work.address.stage is stage:
            raise PowerCut
        return None

    return cut


@pytest.mark.parametrize("keeps", [SITES, SITES[:1]], ids=["nobody releases statistics", "one does not"])
def test_without_statistics_of_all_the_mean_of_the_sites_own_decides(ward: Ward, keeps: tuple[str, ...]) -> None:
    done = ward.run(Script(keeps=keeps), rounds=ROUNDS, selection=BEST | {"patience_rounds": 1})
    found = chosen(done.history)
    assert (found.round, found.cause, found.how, found.value) == (2, "best", "mean", 1.0)
    assert (found.cohort, found.candidates) == (SITES, (0, 1, 2, 3, 4))
    assert done.history.trained == TrainingEnded(round=4, cause="patience", best=2)
    assert f"mean of the sites' own AUROC over {len(SITES)} sites" in why_chosen(found)


def test_a_site_that_withholds_is_in_no_figure_and_the_journal_names_it(ward: Ward) -> None:
    history = ward.run(Script(withholds=SITES[:1]), rounds=ROUNDS, selection=BEST).history
    assert (chosen(history).round, chosen(history).how, chosen(history).cohort) == (2, "pooled", SITES[1:])
    assert history.scored[SITES[0]].withheld == ("validation", "test")
    assert {ready.site for ready in history.readies if ready.withheld} == {SITES[0]}


def test_what_only_statistics_tell_compares_no_models_without_them(ward: Ward) -> None:
    found = chosen(ward.run(Script(keeps=SITES), rounds=ROUNDS, selection=BEST | {"metric": "loss"}).history)
    assert (found.round, found.cause, found.how, found.value) == (5, "undefined", "mean", None)
    assert "not all release the statistics of which the loss is made" in why_chosen(found)
