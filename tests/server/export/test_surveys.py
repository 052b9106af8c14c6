"""What a card says of exams that were found and set aside: what each site told in its survey, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from finished_study import COUNTS, SITES, Finished, finished_study

from server.export import Asked, evidence_for, survey_for
from server.export.card import card_of
from server.export.page import render
from server.export.surveys import Surveyed
from server.federation import load_federation
from server.journal import Journal
from server.launch import START_MODEL, launch
from server.records import SiteRehearsed, StudyFinished, StudyStarted
from server.rehearsal import rehearsal_of
from server.study_folder import StudyFolder, StudyState
from shared.ledger import timestamp
from shared.model_card import ModelCard
from shared.patch import PatchSpec
from shared.rehearsal import Terms
from shared.survey import SPLITS, Survey
from shared.update import PackedFile

BEFORE, AFTER = 1_600_000_000, 1_800_000_000  # the study began between them


def a_survey(found: int = 1000, **more: Any) -> Survey:
    splits = {name: {"patients": COUNTS[name], "classes": {"opacity": 50, "negative": 40}} for name in SPLITS}
    cells = {"found": found, "used": found - 100, "set_aside": {"duplicate": 80, "unlabelled": 20}, "missing": {}}
    return Survey.model_validate(cells | {"splits": splits, "vendors": {"siemens": 600, "ge": 50}} | more)


def surveyed(made: Finished, told: dict[str, Survey], *, at: int, asked: bool = True, **update: Any) -> StudyFolder:
    """A survey in the same federation, of the same study or one that differs; its journal is real."""
    study = rehearsal_of(
        made.study.model_copy(update=update), taken={p.name for p in made.folder.path.parent.iterdir()}
    )
    terms = Terms(deadline_s=60, survey=asked)
    source, now = "# a rehearsal\n", "2026-01-01T00:00:00.000Z"
    folder = launch(made.place.federation, study, source=source, start_model=None, now=now, rehearsal=terms)
    key = load_federation(made.place.federation).coordinator_key
    with Journal.open(folder.journal, key=key, clock=lambda: timestamp(at)) as journal:
        digest = study.digest()
        journal.write(StudyStarted(study=study.name, study_digest=digest, start_digest="0" * 64, cohort=SITES))
        for site, survey in told.items():
            journal.write(SiteRehearsed(site=site, findings={}, survey=survey))
        journal.write(StudyFinished(model_digest="0" * 64))
    (folder.path / START_MODEL).unlink()  # as a rehearsal does at its end
    folder.move(StudyState.FINISHED, now="2026-01-02T03:04:05Z")
    return folder


def card(made: Finished, *, letters: bool = False, smallest: int = 11) -> ModelCard:
    named, _ = evidence_for(made.folder, roster=None)
    evidence, key = evidence_for(made.folder, roster=()) if letters else (named, {})
    found = survey_for(made.place.federation, named, keys=load_federation(made.place.federation).coordinator_keys)
    if found and letters:
        found = found.by_letter(key)
    asked = Asked(federation="", made="2026-01-03T00:00:00Z", smallest=smallest, surveyed=found)
    packed = PackedFile(made.folder.path / evidence.model_file.path)
    return card_of(evidence, asked, packed=packed, sha256="0" * 64, size=1)


@pytest.fixture
def made(tmp_path: Path) -> Finished:
    return finished_study(tmp_path)


def test_the_card_has_what_each_site_told_and_names_who_told_nothing(made: Finished) -> None:
    surveyed(made, {"north": a_survey(), "south": a_survey(900)}, at=BEFORE)
    found = card(made)
    assert [(one.site, one.found, one.used) for one in found.flow.found] == [("north", 1000, 900), ("south", 900, 800)]
    assert found.flow.found[0].set_aside == {"duplicate": 80, "unlabelled": 20}
    assert found.flow.surveyed == "2020-09-13"
    assert found.flow.unknown["found, and set aside by reason"] == "Not told by west."
    page = render(found)
    assert "duplicate 80, unlabelled 20" in page
    assert "ge 50, siemens 600" in page
    assert "by 2 of 3 sites" in page


def test_what_a_site_withheld_stays_hidden_and_the_card_hides_more_if_asked(made: Finished) -> None:
    surveyed(made, {"north": a_survey(used=None, set_aside={"duplicate": 80, "unlabelled": None})}, at=BEFORE)
    (one,) = card(made).flow.found
    assert (one.used, one.set_aside) == (None, {"duplicate": 80, "unlabelled": None})
    (one,) = card(made, smallest=60).flow.found  # 50 are below, and the split with 40 of a class hides the whole
    assert (one.found, one.used, one.vendors["ge"]) == (None, None, None)


def test_a_site_with_a_hidden_split_has_no_count_of_all_splits(tmp_path: Path) -> None:
    made = finished_study(tmp_path, counts={"north": {"train": 300, "validation": 150, "test": 4}})
    surveyed(made, {site: a_survey() for site in SITES}, at=BEFORE)
    found = card(made)
    assert found.flow.patients["test"].by_site == {"north": None, "south": None, "west": 200}
    north, south, west = found.flow.found
    for one in (north, south):
        assert (one.found, one.used, one.vendors) == (None, None, {"siemens": None, "ge": None})
        assert one.set_aside == {"duplicate": 80, "unlabelled": 20}
    assert (west.found, west.used, west.vendors["siemens"]) == (1000, 900, 600)


def test_the_last_survey_before_the_study_is_its_own(made: Finished) -> None:
    surveyed(made, {"north": a_survey(500)}, at=BEFORE - 1000)
    surveyed(made, {"north": a_survey(700)}, at=AFTER)
    surveyed(made, {"north": a_survey(600)}, at=BEFORE)
    surveyed(made, {"north": a_survey(800)}, at=BEFORE + 1, asked=False)
    other = made.study.images.model_copy(update={"size_px": 56})
    surveyed(made, {"north": a_survey(900)}, at=BEFORE + 2, images=other)
    assert [one.found for one in card(made).flow.found] == [600]


def test_of_each_site_the_last_survey_in_which_it_told_counts(made: Finished) -> None:
    surveyed(made, {"north": a_survey(500), "south": a_survey(600)}, at=BEFORE - 100_000)
    surveyed(made, {"south": a_survey(700)}, at=BEFORE)
    surveyed(made, {"south": a_survey(800), "west": a_survey(900)}, at=AFTER)
    flow = card(made).flow
    assert {one.site: one.found for one in flow.found} == {"north": 500, "south": 700, "west": 900}
    assert flow.surveyed == "2020-09-12, 2020-09-13, 2027-01-15"


def test_a_survey_is_of_every_study_with_the_same_counts(made: Finished) -> None:
    task = made.study.task.model_copy(update={"subgroups": ("sex",)})
    surveyed(made, {"north": a_survey(500)}, at=BEFORE, task=task)
    assert [one.found for one in card(made).flow.found] == [500]
    other = task.model_copy(update={"classes": ("effusion",)})
    surveyed(made, {"north": a_survey(600)}, at=BEFORE + 1, task=other)
    assert [one.found for one in card(made).flow.found] == [500]


def test_a_survey_in_patches_is_one_of_whole_images(tmp_path: Path) -> None:
    made = finished_study(tmp_path, kind="segmentation", model="unet", size_px=32)
    patch = PatchSpec(size_px=16)
    surveyed(made, {"north": a_survey(500)}, at=BEFORE, images=made.study.images.model_copy(update={"patch": patch}))
    assert [one.found for one in card(made).flow.found] == [500]


def test_without_a_survey_it_says_how_to_have_one(made: Finished) -> None:
    flow = card(made).flow
    assert flow.found == ()
    assert "wardround study cohort" in flow.unknown["found, and set aside by reason"]


def test_by_letter_no_site_is_named(made: Finished) -> None:
    surveyed(made, {"north": a_survey()}, at=BEFORE)
    text = card(made, letters=True).model_dump_json()
    assert not any(site in text for site in SITES)
    assert '"found":1000' in text


def test_a_survey_that_was_altered_is_not_believed(made: Finished) -> None:
    folder = surveyed(made, {"north": a_survey()}, at=BEFORE)
    folder.journal.write_bytes(folder.journal.read_bytes().replace(b'"found":1000', b'"found":1001'))
    flow = card(made).flow
    assert (flow.found, flow.surveyed) == ((), None)
    said = flow.unknown["found, and set aside by reason"]
    assert f"signed, so that nothing of them is told: {folder.name}." in said
    surveyed(made, {"north": a_survey(900)}, at=BEFORE - 1)
    assert [one.found for one in card(made).flow.found] == [900]
    assert folder.name not in card(made, letters=True).model_dump_json()


def test_a_site_outside_the_study_is_left_out() -> None:
    found = Surveyed("2026-01-01", {"north": a_survey(), "else": a_survey()})
    assert list(found.by_letter({"site A": "north"}).by_site) == ["site A"]
