"""A released model that takes clinical columns: the site's own table is read as its study reads it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_federation import answer, wardround
from memory_ward import MemoryWard, as_flower_process
from PIL import Image

from client.imaging.cache import prepare
from client.imaging.settings import DataSettings
from client.join import load_invitation
from client.prediction.answer import Prediction
from client.prediction.released_model import load_released
from client.settings import load_settings
from client.work.evaluate import measured_by_patient
from server.federation import load_federation
from shared.calibration import probabilities
from shared.errors import ConfigError
from shared.keys import identity_hex
from shared.ledger import read_entries
from shared.model_card import ModelCard
from shared.study import parse_study

STUDY = """\
[study]
name = "chest"
[task]
classes = ["old"]
subgroups = ["sex", "age"]
[images]
size_px = 16
[clinical.age]
unit = "years"
low = 0
high = 100
mean = 60
sd = 10
[clinical.sex]
kind = "category"
values = ["female", "male"]
[model]
width = 8
[training]
batch_size = 8
epochs_per_round = 1
[rounds]
count = 1
quorum = 2
"""
GERMAN = """
[labels]
decimal = ","
[labels.columns]
Datei = "file"
[labels.clinical]
Alter = { name = "age" }
Geschl = { name = "sex", words = { w = "female", m = "male" } }
"""


def table(path: Path, lines: dict[str, dict[str, str]], *columns: str) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["Datei", *columns], delimiter=";")
        writer.writeheader()
        writer.writerows({"Datei": name, **line} for name, line in lines.items())
    return path


class Ward:
    """A study that two sites trained, one of them with a German table, and its package."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.lines = {f"{n:02}.png": self._line(n) for n in range(40)}
        rng, self.images = np.random.default_rng(0), root / "images"
        self.images.mkdir()
        for name in self.lines:
            Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(self.images / name)
        labels = table(root / "labels.csv", self.lines, "patient", "label", "split", "Alter", "Geschl")
        data = DataSettings(kind="pictures", folder=self.images, labels=labels)
        self.ward = MemoryWard(root / "ward", dict.fromkeys(("east", "west"), data))
        for site in self.ward.sites.values():
            (site / "site.toml").write_text((site / "site.toml").read_text() + GERMAN)
        self.ward.run(STUDY)
        self.package = root / "package"
        whole = ("--smallest-cell", 1)  # nobody is hidden
        answer("study", "export", "chest", "--out", self.package, "-f", self.ward.federation, *whole)
        self.key = load_federation(self.ward.federation).coordinator_key.public_key()
        self.config = self.ward.sites["east"] / "site.toml"

    @staticmethod
    def _line(n: int) -> dict[str, str]:
        split = ("train", "train", "validation", "test")[n % 4]
        old, age = str(int(n % 3 == 0)), "" if n % 5 == 0 else f"{70 - n % 3 * 20},5"
        return {"patient": f"p{n}", "label": old, "split": split, "Alter": age, "Geschl": ("w", "m", "?")[n % 7 % 3]}

    def asked(self, out: Path, *more: object) -> tuple[object, ...]:
        return ("predict", "--model", self.package, "--input", self.images, "--out", out, "--device", "cpu", *more)

    def said(self, out: Path, clinical: Path, *more: object) -> dict[str, Any]:
        return answer(*self.asked(out, "--config", self.config, "--clinical", clinical, *more))

    def evaluated(self, cache: Path) -> list[float]:
        """Calibrated, what the site's own evaluation makes of its test patients."""
        study, settings = parse_study(STUDY), load_settings(self.config)
        salt = bytes.fromhex(load_invitation(self.config.parent).patient_salt)
        how = {"images": study.images, "labels": settings.labels, "clinical": study.clinical, "base": cache}
        found = prepare(settings.data, task=study.task, salt=salt, cache=cache, **how)
        model = load_released(self.package, coordinator=self.key, device="cpu")
        logits, _ = measured_by_patient(model.network, found.test, task=model.task, device="cpu")
        return list(probabilities(logits.astype(np.float64), model.card.calibration.scalings, exclusive=False)[:, 0])


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    with pytest.MonkeyPatch.context() as patch:
        as_flower_process(patch)
        return Ward(tmp_path_factory.mktemp("clinical"))


def answers(out: Path) -> dict[str, Prediction]:
    return {p.stem: Prediction.model_validate_json(p.read_bytes()) for p in sorted(out.glob("*.json"))}


def refused(*words: object) -> tuple[int, str]:
    done = wardround(*words, "--json")
    return done.exit_code, json.loads(done.stdout)["error"]["what"]


def test_it_answers_as_the_site_evaluates(ward: Ward, tmp_path: Path) -> None:
    lines = {name: {"Alter": line["Alter"], "Geschl": line["Geschl"]} for name, line in ward.lines.items()}
    said = ward.said(tmp_path / "out", table(tmp_path / "known.csv", lines, "Alter", "Geschl"))
    there = answers(tmp_path / "out")
    assert (said["predicted"], len(there)) == (40, 40)
    tested = [there[name].findings[0].probability for name, line in ward.lines.items() if line["split"] == "test"]
    assert tested == pytest.approx(ward.evaluated(tmp_path), abs=1e-4)
    assert there["01.png"].clinical.model_dump(mode="json") == {"values": {"age": 50.5, "sex": "male"}, "missing": {}}
    assert there["00.png"].clinical.model_dump(mode="json") == {
        "values": {"sex": "female"},
        "missing": {"age": "empty"},
    }
    strange = sum(line["Geschl"] == "?" for line in ward.lines.values())
    assert said["missing"] == {"age": {"empty": 8}, "sex": {"unreadable": strange}}


def test_what_the_table_does_not_know_is_missing_and_counted(ward: Ward, tmp_path: Path) -> None:
    known = table(tmp_path / "known.csv", {"01.png": {"Alter": "50,5"}, "02.png": {"Alter": "500"}}, "Alter")
    said = ward.said(tmp_path / "out", known)
    assert said["missing"] == {"age": {"no_line": 38, "out_of_range": 1}, "sex": {"no_line": 38, "no_column": 2}}
    whole = wardround(*ward.asked(tmp_path / "out", "--config", ward.config, "--clinical", known)).stdout
    assert "has no line for the exam" in whole
    assert "age of 39, sex of 40" in whole


def test_an_answer_to_other_values_is_made_anew(ward: Ward, tmp_path: Path) -> None:
    known = table(tmp_path / "known.csv", {"01.png": {"Alter": "20"}, "02.png": {"Alter": "20"}}, "Alter")
    first, before = ward.said(tmp_path / "out", known), answers(tmp_path / "out")
    table(known, {"01.png": {"Alter": "90"}, "02.png": {"Alter": "20"}}, "Alter")
    again, after = ward.said(tmp_path / "out", known), answers(tmp_path / "out")
    assert (first["predicted"], again["predicted"], again["kept"]) == (40, 1, 39)
    assert before["01.png"].findings != after["01.png"].findings
    assert before["02.png"] == after["02.png"]


def test_where_it_looked_is_shown_with_the_columns_held(ward: Ward, tmp_path: Path) -> None:
    said = ward.said(
        tmp_path / "out", table(tmp_path / "known.csv", {"00.png": {"Alter": "70"}}, "Alter"), "--explain", 1
    )
    assert said["explained"] == 1


def test_without_the_sites_dictionary_the_table_has_the_studys_words(ward: Ward, tmp_path: Path) -> None:
    (known := tmp_path / "known.csv").write_text("file,age,sex\n01.png,50.5,male\n")
    answer(*ward.asked(tmp_path / "out", "--coordinator", identity_hex(ward.key), "--clinical", known))
    assert answers(tmp_path / "out")["01.png"].clinical.values == {"age": 50.5, "sex": "male"}


def test_a_table_that_is_not_named_or_not_one_is_asked_for(ward: Ward, tmp_path: Path) -> None:
    code, message = refused(*ward.asked(tmp_path / "out", "--config", ward.config))
    assert code == ConfigError.exit_code
    assert "age, sex" in message
    (other := tmp_path / "other.csv").write_text("name,age\nx,5\n")
    code, message = refused(*ward.asked(tmp_path / "out", "--config", ward.config, "--clinical", other))
    assert (code, message) == (ConfigError.exit_code, "The clinical table has no column `file`.")
    assert not (tmp_path / "out").exists()


def test_the_card_has_the_subgroups_as_the_sites_scored_them(ward: Ward) -> None:
    card = ModelCard.model_validate_json((ward.package / "model-card.json").read_bytes())
    tested = [line for line in ward.lines.values() if line["split"] == "test"]
    men = [line for line in tested if line["Geschl"] == "m"]
    (male,) = [one for one in card.subgroups if one.value == "male"]
    assert (male.how, male.patients, [at.patients for at in male.by_site]) == ("pooled", 2 * len(men), [len(men)] * 2)
    assert male.auroc.value is not None and male.auroc.low is not None
    assert sum(one.patients or 0 for one in card.subgroups if one.trait == "age") == 2 * len(tested)
    assert {one.value for one in card.subgroups if one.trait == "age"} <= {"18-39", "40-64", "65-79", "unstated"}
    released = [e.data for e in read_entries(ward.ward.sites["east"] / "ledger.jsonl") if e.type == "release"]
    assert [told for entry in released for told in entry["tells"] if told.startswith("sub")] == [
        "subgroups.age",
        "subgroups.sex",
    ]
    assert "maker of the machine" not in (page := (ward.package / "model-card.html").read_text())
    assert "age in years" in page


def test_the_card_says_what_the_network_makes_of_a_column_and_no_bundle_is_written(ward: Ward, tmp_path: Path) -> None:
    card = json.loads((ward.package / "model-card.json").read_text())
    assert card["inputs"]["clinical"]["age"]["sd"] == 10
    age = "age: a number from 0 to 100 years, less 60 and divided by 10; else it is missing, which is 0"
    assert any(step.startswith(age) for step in card["preprocessing"])
    assert "and beside it age, sex" in (ward.package / "model-card.html").read_text()
    bundle = ("--out", tmp_path / "bundle", "--format", "monai-bundle")
    code, message = refused("study", "export", "chest", *bundle, "-f", ward.ward.federation)
    assert (code, "reads images alone" in message) == (ConfigError.exit_code, True)
