"""What a card says of a model, what it hides, and what it says instead of what it does not know."""

from pathlib import Path
from typing import Any

import pytest
from browser import Reader
from finished_study import SITES, finished_study

from server.export import Asked, evidence_for
from server.export.card import card_of
from server.export.page import render
from server.export.preprocessing import preprocessing_of
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.model_card import RESEARCH_ONLY, ModelCard
from shared.update import PackedFile


def card(root: Path, *, letters: bool = False, specificity: float | None = None, **how: Any) -> ModelCard:
    made = finished_study(root, **how)
    evidence, _ = evidence_for(made.folder, roster=() if letters else None)
    asked = Asked(federation="" if letters else "lung", made="2026-01-03T00:00:00Z", specificity=specificity)
    packed = PackedFile(made.folder.path / evidence.model_file.path)
    return card_of(evidence, asked, packed=packed, sha256="0" * 64, size=1)


def test_a_card_has_every_part(tmp_path: Path) -> None:
    found = card(tmp_path, skew=3.0)
    assert found.notice == RESEARCH_ONLY
    assert found.flow.patients["train"].by_site == dict.fromkeys(SITES, 300)
    assert (found.flow.patients["test"].total, found.flow.images["test"].total) == (600, 1200)
    assert found.performance.figures["auroc"].low is not None
    assert [site.site for site in found.performance.by_site] == list(SITES)
    assert found.weights.rounds == 1
    assert found.weights.parameters > 1000
    assert "without differential privacy" in found.privacy
    assert found.subgroups == ()
    assert found.no_subgroups is not None and "task.subgroups" in found.no_subgroups
    assert "found, and set aside by reason" in found.flow.unknown
    assert {name: len(items) > 15 for name, items in found.guidelines.items()} == {
        "CLAIM (2020)": True,
        "TRIPOD+AI (2024)": True,
    }
    assert ModelCard.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("", "loss is not weighted by class; the sampling is not weighted"),
        ('loss = "weighted"', "loss is weighted by class, each site by its own"),
        ('loss = "focal"', "focal, gamma 2"),
        ('sampling = "class_balanced"', "the sampling is balanced over the classes"),
    ],
)
def test_what_is_said_of_imbalance_is_the_studys(tmp_path: Path, how: str, said: str) -> None:
    found = card(tmp_path, length=f"epochs_per_round = 1\n{how}")
    (one,) = [item for item in found.guidelines["TRIPOD+AI (2024)"] if item.number == "13"]
    assert said in one.answer


def test_probabilities_are_calibrated_on_validation_and_held_against_test(tmp_path: Path) -> None:
    found = card(tmp_path, skew=3.0).calibration
    (one,) = found.classes
    assert (found.kind, found.patients) == ("platt", 450)
    assert 0.6 < one.scaling.slope < 1.0  # logits of 3 times the size; the right ones have 2.4 per unit
    assert one.slope == pytest.approx(1, abs=0.2)
    assert one.error is not None and one.error_before is not None and one.error < one.error_before
    assert sum(bin_.patients for bin_ in one.bins) == 600


def test_the_operating_point_is_chosen_on_validation_and_told_of_test(tmp_path: Path) -> None:
    youden, asked = card(tmp_path / "a").operating, card(tmp_path / "b", specificity=0.95).operating
    assert (youden.rule, asked.rule) == ("youden", "specificity")
    (at,) = asked.at
    assert at.specificity.value == pytest.approx(0.95, abs=0.04)
    assert at.specificity.low is not None and at.specificity.low < 0.95
    assert asked.at == asked.at_specificity["0.95"] == youden.at_specificity["0.95"]
    assert at.probability is not None and at.probability > 0.5


def test_several_classes_are_read_one_by_one(tmp_path: Path) -> None:
    several, exclusive = card(tmp_path / "a", mode="multilabel"), card(tmp_path / "b", mode="multiclass")
    assert [at.name for at in several.operating.at] == ["opacity", "effusion"]
    assert exclusive.operating.rule == "likeliest"
    assert [at.cut for at in exclusive.operating.at] == [None, None, None]
    assert all(at.sensitivity.value and at.sensitivity.value > 0.6 for at in exclusive.operating.at)
    assert list(exclusive.performance.classes) == ["none", "left", "right"]


def test_without_statistics_it_is_said_that_nothing_is_calibrated(tmp_path: Path) -> None:
    found = card(tmp_path, releasing=False)
    assert found.calibration.scalings is None
    assert found.calibration.words == "uncalibrated: no site releases statistics to pool"
    assert (found.operating.rule, found.operating.at[0].cut) == ("half", 0.0)
    assert found.operating.at[0].sensitivity.value is None
    assert found.performance.how == "mean"
    assert found.performance.figures["auroc"].why is not None


def test_small_cells_are_hidden_and_do_not_follow(tmp_path: Path) -> None:
    few = {"north": {"train": 5, "validation": 150, "test": 4}}
    found = card(tmp_path, counts=few)
    assert found.flow.patients["train"].by_site == {"north": None, "south": None, "west": 300}
    assert found.flow.images["train"].by_site == {"north": None, "south": None, "west": 600}
    by_site = {site.site: site for site in found.performance.by_site}
    assert (by_site["north"].patients, by_site["north"].sensitivity) == (None, None)
    assert by_site["west"].patients == 200


def test_of_a_small_site_that_withholds_its_score_nothing_follows_from_the_scores_of_the_others(tmp_path: Path) -> None:
    few = {"north": {"train": 300, "validation": 150, "test": 5}}
    found = card(tmp_path, counts=few, withholding=["north"])
    assert found.flow.patients["test"].by_site == {"north": None, "south": 200, "west": 200}
    assert (found.flow.patients["test"].total, found.flow.images["test"].total) == (None, None)
    assert found.flow.patients["validation"].total == 450
    assert found.performance.patients is None and "patient" not in found.performance.sentence
    assert [site.patients for site in found.performance.by_site] == [None, 200, 200]


def test_a_hidden_total_is_in_no_sentence(tmp_path: Path) -> None:
    few = {site: {"train": 300, "validation": 150, "test": 3} for site in SITES}
    found = card(tmp_path, counts=few)
    assert found.performance.patients is None
    assert "patient" not in found.performance.sentence
    assert "fewer than are told" in str(found.operating.at[0].sensitivity.why)


def test_a_private_study_tells_its_price_and_no_counts(tmp_path: Path) -> None:
    extra = "[privacy]\nnoise_multiplier = 1.5\nsampling_rate = 0.25\npatients_per_step = 8"
    found = card(tmp_path, extra=extra, norm="none", length="steps_per_round = 2", releasing=False)
    assert "epsilon" in found.privacy
    assert found.flow.patients == {}
    assert found.flow.why is not None
    assert [site.patients for site in found.performance.by_site] == [None, None, None]


def test_masks_have_dice_and_hd95_by_structure_and_site_and_no_calibration(tmp_path: Path) -> None:
    found = card(tmp_path, kind="segmentation", mode="multiclass", model="unet", size_px=32)
    assert (found.calibration.scalings, found.operating.at) == (None, ())
    assert "no patient has a probability" in found.calibration.words
    assert [one.name for one in found.performance.structures] == ["none", "left", "right"]
    for one in (*found.performance.structures, *found.performance.by_site[0].structures):
        for figure in (one.dice, one.hd95):
            assert figure.low is not None and figure.value is not None and figure.low < figure.value
    assert found.performance.structures[0].patients == 600
    by_site = {site.site: site for site in found.performance.by_site}
    assert by_site.keys() == set(SITES)
    assert by_site["north"].dice is not None and by_site["north"].dice.value is not None
    mean = [one.dice.value for one in found.performance.structures if one.dice.value is not None]
    assert found.performance.figures["dice"].value == pytest.approx(sum(mean) / 3)
    with pytest.raises(ConfigError, match="no cut"):
        card(tmp_path / "cut", kind="segmentation", model="unet", size_px=32, specificity=0.9)


def test_structures_of_few_patients_are_hidden(tmp_path: Path) -> None:
    few = {"north": {"train": 300, "validation": 150, "test": 4}}
    found = card(tmp_path, kind="segmentation", model="unet", size_px=32, counts=few).performance
    (north,), (west,) = (site.structures for site in found.by_site if site.site != "south")
    assert (north.patients, north.dice.value, north.hd95.value) == (None, None, None)
    assert west.patients == 200 and west.dice.value is not None
    (south,), (every,) = found.by_site[1].structures, found.structures
    assert (south.patients, south.excluded) == (None, None)  # of 404 less 200 and those 200 there would be 4 left
    assert (every.patients, every.excluded) == (None, None)


def test_by_letter_no_site_is_named(tmp_path: Path) -> None:
    found = card(tmp_path, letters=True, description="Led by north.")
    text = found.model_dump_json() + render(found)
    assert not [site for site in SITES if f'"{site}"' in text or f">{site}<" in text]
    assert "Led by [site]." in found.origin.description
    assert found.flow.sites == ("site A", "site B", "site C")
    assert found.origin.federation == ""


def test_the_page_of_masks_tells_each_structure(tmp_path: Path) -> None:
    page = Reader(render(card(tmp_path, kind="segmentation", mode="multiclass", model="unet", size_px=32)))
    for said in ("Structure by structure", "mean Dice", "HD95", "right", "Site by site", "no operating point"):
        assert said in page.text
    assert "Expected calibration error" not in page.text and "AUROC" not in page.text


@pytest.mark.parametrize(("mode", "releasing"), [("binary", False), ("multilabel", True), ("multiclass", True)])
def test_the_page_is_whole_and_loads_nothing(tmp_path: Path, mode: str, releasing: bool) -> None:
    page = Reader(render(card(tmp_path, mode=mode, releasing=releasing)))
    assert "Research use only, not for diagnosis" in page.text
    assert not {name for name, _ in page.attributes} & {"src", "href"}
    assert "script" not in page.tags
    for said in ("Calibration", "Site by site", "Subgroups", "CLAIM (2020)", "TRIPOD+AI (2024)", "0" * 64):
        assert said in page.text


def test_the_scale_of_a_study_stands_among_the_preparations() -> None:
    told = preprocessing_of(ImageSpec(landmarks=(0.1, 0.45, 0.8)))
    assert [line for line in told if "brought to 0.1, 0.45, 0.8" in line] == [told[-2]]
    assert not any("percentiles 5, 50 and 95" in line for line in preprocessing_of(ImageSpec()))
