"""`wardround site data`: the honest account of what a site has."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from few_patients import write_images
from live_federation import answer, wardround
from lone_site import LoneSite
from PIL import Image

from client.imaging.reasons import Reason
from client.privacy.withdrawn import Withdrawn

STUDY = """\
[study]
name = "lungs"
[task]
classes = ["opacity"]
[images]
size_px = 28
[training]
steps_per_round = 2
[rounds]
count = 2
"""


@pytest.fixture
def site_with(tmp_path: Path) -> Iterator[Callable[..., LoneSite]]:
    made = []

    def build(**data: object) -> LoneSite:
        made.append(LoneSite(tmp_path, **data))
        return made[-1]

    yield build
    for site in made:
        site.close()


def test_every_real_file_is_used_or_set_aside_by_reason(shared_data: Path) -> None:
    folder = shared_data / "dicom"
    files = sum(path.is_file() for path in folder.rglob("*"))
    done = wardround("site", "data", "--folder", folder, "--json")
    said = json.loads(done.stdout)["data"]
    assert said["used"] + sum(aside["files"] for aside in said["set_aside"]) == said["files"] == files
    assert (said["crashed"], said["hung"]) == (0, 0)
    assert said["images"] > said["used"] >= 45
    assert len(said["transfer_syntaxes"]) >= 6
    assert said["views"].keys() >= {"pa", "ap", "lateral"}
    assert said["vendors"].keys() >= {"ge", "philips", "siemens"}
    assert all(Reason(aside["reason"]) and aside["meaning"] for aside in said["set_aside"])
    assert said["splits"] is said["classes"] is None
    private = ("CompressedSamples", "1CT1", "JFK IMAGING", "CQ500", ".dcm", str(folder))
    assert not any(word in done.output for word in private)


def test_every_real_volume_is_used_or_set_aside_by_reason(shared_data: Path) -> None:
    said = answer("site", "data", "--folder", shared_data / "nifti")
    aside = {one["reason"]: one["files"] for one in said["set_aside"]}
    assert said["used"] + sum(aside.values()) == said["files"]
    assert (said["crashed"], said["hung"]) == (0, 0)
    assert aside.keys() == {"not_an_image", "other_object"}  # texts, masks
    assert said["transfer_syntaxes"] == {"nifti_1": said["used"]}
    assert said["images"] > said["used"] == 16


def test_a_study_of_volumes_counts_volumes(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("size_px = 28", "size_px = 32\nslices = 16"))
    asked = ("--study", tmp_path / "study.toml")
    said = answer("site", "data", "--folder", shared_data / "nifti", *asked)
    aside = {one["reason"]: one["files"] for one in said["set_aside"]}
    assert said["used"] + sum(aside.values()) == said["files"]
    assert (said["crashed"], said["hung"]) == (0, 0)
    assert (said["used"], said["images"]) == (14, 14)
    assert aside == {"not_an_image": 5, "other_object": 8, "time_series": 2}
    said = answer("site", "data", "--folder", shared_data / "dicom", *asked)
    assert said["used"] + sum(one["files"] for one in said["set_aside"]) == said["files"]
    assert (said["used"], said["images"], said["crashed"], said["hung"]) == (5, 1, 0, 0)
    refused = wardround("site", "data", "--folder", shared_data / "nifti", "--kind", "pictures", *asked)
    assert refused.exit_code == 3
    assert "volumes" in refused.output


def pictures(folder: Path) -> None:
    """Eight patients of two pictures each, a damaged picture, a word that no study knows, and a line too many."""
    lines = ["file,label,patient,split"]
    (folder / "images").mkdir()
    for number in range(16):
        patient, label = number // 2, ("yes", "no")[number // 2 % 2]
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        split = "train" if patient < 6 else "test"
        lines.append(f"{number}.png,{'perhaps' if number == 15 else label},Planted-{patient},{split}")
    damaged = (folder / "images/0.png").read_bytes()
    (folder / "images/0.png").write_bytes(damaged[: len(damaged) - 60])
    (folder / "labels.csv").write_text("\n".join([*lines, "99.png,yes,Planted-99,train"]))


def test_labels_classes_and_splits_of_a_site(site_with: Callable[..., LoneSite], tmp_path: Path) -> None:
    site = site_with(kind="pictures", file=None, folder="images", labels="labels.csv", validation_fraction=0)
    pictures(site.folder)
    (tmp_path / "study.toml").write_text(STUDY)
    Withdrawn(site.folder).add("Planted-1", by="ada", time="2026-01-02T03:04:05Z")
    config = ("--config", site.folder / "site.toml")
    done = wardround("site", "data", *config, "--study", tmp_path / "study.toml", "--json")
    said = json.loads(done.stdout)["data"]
    aside = {one["reason"]: one["files"] for one in said["set_aside"]}
    assert aside == {"unreadable": 1, "label_unknown": 1, "withdrawn": 2}
    assert (said["files"], said["used"], said["labels_unmapped"], said["labels_unused"]) == (16, 12, 1, 1)
    assert said["classes"] == {"opacity": 4, "negative": 3}
    assert said["splits"]["train"] == {"images": 9, "patients": 5, "classes": {"opacity": 3, "negative": 2}}
    assert ["train", "opacity"] in said["small_classes"]
    assert said["train_only_advised"]
    assert "Planted" not in done.output
    shown = wardround("site", "data", *config, "--study", tmp_path / "study.toml").stdout
    assert "labels.words" in shown
    assert "data.test_fraction = 0" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    assert "No patient to train on" not in shown
    assert "label table columns file, label, patient, split" in " ".join(shown.split())
    assert "--study FILE. " not in " ".join(shown.split())
    assert "hold them against a study with --study FILE" in " ".join(wardround("site", "data", *config).stdout.split())
    unlabelled = answer("site", "data", *config)
    assert (unlabelled["classes"], unlabelled["used"]) == (None, 13)


def test_patients_across_splits_are_counted(site_with: Callable[..., LoneSite]) -> None:
    site = site_with(kind="pictures", file=None, folder="images", labels="labels.csv")
    pictures(site.folder)
    table = site.folder / "labels.csv"
    table.write_text(table.read_text().replace("2.png,no,Planted-1,train", "2.png,no,Planted-1,test"))
    said = answer("site", "data", "--config", site.folder / "site.toml")
    assert (said["patients_across_splits"], said["splits"]) == (1, None)


def test_a_site_keeps_its_own_words(site_with: Callable[..., LoneSite], tmp_path: Path) -> None:
    site = site_with(kind="pictures", file=None, folder="images", labels="labels.csv")
    pictures(site.folder)
    table, config = site.folder / "labels.csv", site.folder / "site.toml"
    german = table.read_text().replace(",no,", ",unauffaellig,").replace(",yes,", ",Herd,")
    table.write_text(german.replace("file,label", "Datei,Befund").replace(",", ";"))
    (tmp_path / "study.toml").write_text(STUDY)
    asked = ("site", "data", "--config", config, "--study", tmp_path / "study.toml")

    mapping = '[labels]\ncolumns = { Datei = "file", Befund = "label" }\nwords = { Herd = "opacity" }\n'
    config.write_text(config.read_text().replace("smallest_cell = 1", "smallest_cell = 5") + mapping)
    shown = " ".join(wardround(*asked).stdout.split())
    assert "8 files have a label that the study does not know" in shown
    assert "Words among them" not in shown  # four patients, below the smallest cell
    config.write_text(config.read_text().replace("smallest_cell = 5", "smallest_cell = 2"))
    shown = " ".join(wardround(*asked).stdout.split())
    assert "Words among them, with the patients of each: unauffaellig 4." in shown
    assert "perhaps" not in shown  # of one patient
    assert "unauffaellig" not in wardround(*asked, "--json").output

    config.write_text(config.read_text().replace('{ Herd = "opacity" }', '{ Herd = "opacity", unauffaellig = "no" }'))
    assert answer(*asked)["classes"] == {"opacity": 4, "negative": 4}
    config.write_text(config.read_text().replace('Herd = "opacity"', 'Herd = "opacitiy"'))
    refused = wardround(*asked)
    assert refused.exit_code == 3
    assert '"Herd" = "opacitiy"' in refused.output


def test_a_class_without_a_training_patient_comes_first(site_with: Callable[..., LoneSite], tmp_path: Path) -> None:
    site = site_with(kind="pictures", file=None, folder="images", labels="labels.csv")
    pictures(site.folder)
    table = site.folder / "labels.csv"
    table.write_text(table.read_text().replace(",yes,", ",malignant,"))
    (tmp_path / "study.toml").write_text(STUDY)
    asked = ("site", "data", "--config", site.folder / "site.toml", "--study", tmp_path / "study.toml")
    assert answer(*asked)["absent_classes"] == ["opacity"]
    shown = " ".join(wardround(*asked).stdout.split())
    advice = shown.partition("label_unknown")[2]
    assert advice.index("No patient to train on is opacity") < advice.index("labels.words") < advice.index("Fewer than")
    assert "train only" not in shown


def test_a_table_without_the_columns_says_which(site_with: Callable[..., LoneSite], tmp_path: Path) -> None:
    site = site_with(kind="pictures", file=None, folder="images", labels="labels.csv")
    pictures(site.folder)
    table, config = site.folder / "labels.csv", ("--config", site.folder / "site.toml")
    (tmp_path / "study.toml").write_text(STUDY)
    table.write_text(table.read_text().replace("file,label,patient", "file,Befund,Wer"))
    shown = " ".join(wardround("site", "data", *config).stdout.split())
    assert "data.kind" not in shown
    assert "label table columns file, befund, wer, split" in shown
    assert "no column `patient`, and files of kind pictures name none" in shown
    assert "no column `label`: a study that classifies needs it, or one column per class" in shown
    assert "wer" not in wardround("site", "data", *config, "--json").output
    refused = wardround("site", "data", *config, "--study", tmp_path / "study.toml")
    assert refused.exit_code == 3
    assert "labels.columns" in refused.output


def test_files_of_which_none_can_be_used_are_of_another_kind(site_with: Callable[..., LoneSite]) -> None:
    site = site_with(kind="dicom", file=None, folder="images", labels="labels.csv")
    pictures(site.folder)
    done = wardround("site", "data", "--config", site.folder / "site.toml")
    assert done.exit_code == 0
    shown = " ".join(done.stdout.split())
    assert "No file can be used; most are set aside as not_an_image. They were read as dicom" in shown
    assert "correct data.kind" in shown


def test_an_array_file_is_counted_without_its_classes_or_by_a_study(
    site_with: Callable[..., LoneSite], tmp_path: Path
) -> None:
    site = site_with()
    write_images(site, 8)
    config = ("--config", site.folder / "site.toml")
    (tmp_path / "study.toml").write_text(STUDY)
    for words, classes in ((), None), (("--study", tmp_path / "study.toml"), {"opacity": 8, "negative": 8}):
        said = answer("site", "data", *config, *words)
        assert (said["files"], said["used"], said["images"], said["patients"]) == (16, 16, 16, 8)
        assert said["classes"] == classes


@pytest.mark.parametrize("words", [("--folder", "nowhere"), ("--folder", ".", "--config", "site.toml")])
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]) -> None:
    assert wardround("site", "data", *words).exit_code == 3
