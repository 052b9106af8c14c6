"""A released model on real images: nothing without its signature, every exam once, and the answer our network gives."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tomli_w
import torch
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from finished_study import Finished, finished_study
from invited import handed_over
from live_federation import answer, wardround
from PIL import Image

from client.imaging.fit import fit
from client.imaging.pictures import Picture
from client.imaging.transforms import to_network
from client.join import load_enrolment
from client.prediction.answer import Prediction
from client.prediction.coordinator_key import coordinator_key
from server.export import Asked, Exported, evidence_for, export_model
from server.federation import load_federation
from shared.errors import ConfigError, TrustError
from shared.key_card import KeyCard
from shared.keys import fingerprint, identity_hex, make_identity_key
from shared.model_card import RESEARCH_ONLY
from shared.models import build_model, load_state
from shared.randomness import StudyRandom


class Ward:
    """A finished study, its package, and five real pictures beside one that is broken and one that is none."""

    def __init__(self, root: Path, pictures: Path) -> None:
        self.made: Finished = finished_study(root, size_px=32, channels=3, skew=3.0)
        evidence, _ = evidence_for(self.made.folder, roster=None)
        key = load_federation(self.made.place.federation).coordinator_key
        asked = Asked(federation="lung", made="2026-01-03T00:00:00Z")
        how: dict[str, Any] = {"to": root / "package", "form": "safetensors", "key": key}
        self.exported: Exported = export_model(self.made.folder, evidence, asked, **how)
        self.key, self.images = key.public_key(), root / "images"
        (self.images / "late").mkdir(parents=True)
        self.files = sorted(pictures.rglob("*.jpg"))[:5]
        for n, file in enumerate(self.files):
            (self.images / ("late" if n > 2 else ".") / file.name).write_bytes(file.read_bytes())
        (self.images / "broken.jpg").write_bytes(self.files[0].read_bytes()[:300])
        (self.images / "note.txt").write_text("seen")

    def asked(self, out: Path, *more: object) -> tuple[object, ...]:
        where = ("--model", self.exported.folder, "--input", self.images, "--out", out, "--device", "cpu")
        return ("predict", *where, *more)

    def run(self, out: Path, *more: object) -> dict[str, Any]:
        return answer(*self.asked(out, "--coordinator", identity_hex(self.key), *more))


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Ward:
    return Ward(tmp_path_factory.mktemp("ward"), shared_data / "ham10000_sites" / "jpeg_200x150")


def failed(done: Result) -> tuple[int, str]:
    said = json.loads(done.stdout)
    return done.exit_code, said["error"]["remedy"]


def test_a_file_may_be_called_anything(ward: Ward, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    names = [
        b"M\xfcller/scan.jpg",
        b"M\xfc\nller.jpg",
        b"a" * 251 + b".jpg",
        b"a" * 250 + b"b.jpg",
        "\u00fc.jpg".encode(),
    ]
    for name, file in zip(names, ward.files, strict=True):
        place = images / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    asked = ("predict", "--model", ward.exported.folder, "--input", images, "--out", out, "--device", "cpu")
    asked = (*asked, "--coordinator", identity_hex(ward.key))
    said = answer(*asked, "--explain", 5)
    assert (said["predicted"], said["explained"]) == (5, 5)
    there = [Prediction.model_validate_json(path.read_bytes()) for path in out.rglob("*.json")]
    assert {"M\\xfcller/scan.jpg", "M\\xfc\nller.jpg", "\u00fc.jpg"} <= {one.exam for one in there}
    assert len({one.exam for one in there}) == 5
    assert answer(*asked)["kept"] == 5


def test_the_answer_is_what_the_network_says_calibrated(ward: Ward, tmp_path: Path) -> None:
    said = ward.run(tmp_path, "--explain", 2)
    assert said["explained"] == (tmp_path / "explained.html").read_text().count("<h2>") == 2
    assert (said["files"], said["used"], said["exams"], said["predicted"], said["images"]) == (7, 5, 5, 5, 5)
    assert said["used"] + sum(said["set_aside"].values()) == said["files"]
    card, file = ward.exported.card, ward.files[0]
    there = Prediction.model_validate_json((tmp_path / f"{file.name}.json").read_bytes())
    network = build_model(card.inputs.model, images=card.inputs.images, outputs=1, random=StudyRandom(0)).eval()
    load_state(network, ward.made.state)
    pixels = next(iter(Picture().pixels(file.read_bytes(), [0])))
    with torch.inference_mode():
        logit = float(network(to_network(fit(pixels, card.inputs.images)[None]))[0, 0])
    (scaling,), (at,) = card.calibration.scalings or (), card.operating.at
    (finding,) = there.findings
    assert finding.probability == pytest.approx(1 / (1 + np.exp(-(scaling.slope * logit + scaling.offset))), abs=1e-5)
    assert at.cut is not None
    assert finding.called == (logit >= at.cut)
    assert (there.notice, there.model, there.files[0].images) == (RESEARCH_ONLY, card.weights.sha256, 1)
    assert there.calibration.startswith("Platt")
    assert (tmp_path / f"{file.name}.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.gpu
def test_a_gpu_says_what_the_cpu_says(ward: Ward, tmp_path: Path) -> None:
    said = [ward.run(tmp_path / device, "--explain", 2, "--device", device) for device in ("cpu", "cuda")]
    assert said[0]["predicted"] == said[1]["predicted"] == 5 and said[1]["explained"] == 2
    for file in sorted((tmp_path / "cpu").rglob("*.json")):
        here, there = (
            Prediction.model_validate_json((tmp_path / device / file.relative_to(tmp_path / "cpu")).read_bytes())
            for device in ("cpu", "cuda")
        )
        assert there.findings[0].probability == pytest.approx(here.findings[0].probability, abs=1e-5)


def test_logits_are_computed_in_full(ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating point was chosen on such logits; TF32 moves them in the third digit."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    ward.run(tmp_path)
    assert not torch.backends.cudnn.allow_tf32


def test_a_page_of_no_exam_is_written_all_the_same(ward: Ward, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    said = ward.run(tmp_path / "deep" / "out", "--input", tmp_path / "images", "--explain", 2)
    assert (said["exams"], said["explained"]) == (0, 0)
    assert (tmp_path / "deep" / "out" / "explained.html").is_file()


def test_what_is_answered_is_kept_and_the_rest_is_made(ward: Ward, tmp_path: Path) -> None:
    first = ward.run(tmp_path)
    places = sorted(tmp_path.rglob("*.json"))
    lost, changed = places[0], places[1]
    lost.unlink()
    changed.write_bytes(changed.read_bytes()[:-20])  # cut off by something that does not write as we do
    before = {place: place.stat().st_mtime_ns for place in places[2:]}
    again = ward.run(tmp_path)
    assert (again["predicted"], again["kept"]) == (2, 3)
    assert {place: place.stat().st_mtime_ns for place in places[2:]} == before
    assert sorted(tmp_path.rglob("*.json")) == places
    assert first["set_aside"] == again["set_aside"]


def test_another_picture_under_the_same_name_is_answered_anew(ward: Ward, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    more = ("--input", images, "--kind", "pictures")
    Image.fromarray(np.full((40, 40), 30, np.uint8)).save(images / "a.png")
    assert ward.run(tmp_path / "out", *more)["predicted"] == 1
    Image.fromarray(np.full((40, 40), 31, np.uint8)).save(images / "a.png")
    assert ward.run(tmp_path / "out", *more)["predicted"] == 1


def test_a_site_goes_by_its_own_invitation_and_its_own_rules(ward: Ward, tmp_path: Path, shared_data: Path) -> None:
    config = next(iter(ward.made.place.sites.values())) / "site.toml"
    data = {"kind": "dicom", "folder": str(shared_data), "labels": str(ward.images / "note.txt"), "keep": ["secondary"]}
    config.write_text(tomli_w.dumps({"site": {"name": "north"}, "data": data}))
    series = shared_data / "dicom" / "mr_series_24"
    said = answer(*ward.asked(tmp_path, "--config", config, "--input", series, "--dicom-sr"))
    assert (said["exams"], said["predicted"], said["images"]) == (1, 1, 24)
    (there,) = tmp_path.glob("*.json")  # the slices of one exam have one answer
    assert len(json.loads(there.read_text())["files"]) == 24
    (report,) = tmp_path.glob("*.dcm")
    assert (said["reports"], said["unreported"], report.stem) == (1, 0, there.stem)
    assert ward.exported.card.weights.sha256.encode() in report.read_bytes()
    assert pydicom.dcmread(report).SeriesDescription == RESEARCH_ONLY


def test_an_answer_that_is_kept_has_its_report_made_good(ward: Ward, tmp_path: Path, shared_data: Path) -> None:
    (images := tmp_path / "images").mkdir()
    shutil.copy(shared_data / "dicom" / "pydicom_test_files" / "CT_small.dcm", images / "one.dcm")
    more, out = ("--input", images), tmp_path / "out"
    assert (ward.run(out, *more)["predicted"], list(out.glob("*.dcm"))) == (1, [])
    (images / "one.dcm").rename(images / "moved.dcm")
    asked = [ward.run(out, *more, "--dicom-sr") for _ in range(2)]
    assert [(said["kept"], said["reports"], said["unreported"]) for said in asked] == [(1, 1, 0), (1, 0, 0)]
    (report,), (there,) = out.glob("*.dcm"), out.glob("*.json")
    assert pydicom.dcmread(report).SeriesDescription == RESEARCH_ONLY
    os.utime(report, ns=(0, there.stat().st_mtime_ns - 1))  # of an answer that was replaced since
    assert ward.run(out, *more, "--dicom-sr")["reports"] == 1


def test_a_report_is_of_a_dicom_exam(ward: Ward, tmp_path: Path) -> None:
    done = wardround(*ward.asked(tmp_path / "out", "--coordinator", identity_hex(ward.key), "--dicom-sr", "--json"))
    assert failed(done)[0] == ConfigError.exit_code


def test_a_key_is_given_in_several_forms(ward: Ward, tmp_path: Path) -> None:
    pem = ward.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    card, key = KeyCard(**_card(ward)).encode(), identity_hex(ward.key)
    for content in (pem, card, key.encode() + b"\n"):
        (tmp_path / "key").write_bytes(content)
        assert [identity_hex(one) for one in coordinator_key(str(tmp_path / "key"), None).keys] == [key]
    (tmp_path / "key").write_text("no key")
    with pytest.raises(TrustError, match="no Ed25519"):
        coordinator_key(str(tmp_path / "key"), None)
    with pytest.raises(ConfigError, match="no key to read"):
        coordinator_key(str(tmp_path / "nowhere"), None)


def test_a_model_of_a_former_lead_is_refused_until_that_key_is_named(ward: Ward, tmp_path: Path) -> None:
    place, ben = ward.made.place, make_identity_key()
    federation = load_federation(place.federation)
    mandates = handed_over(federation.coordinator_key, ben, federation=federation.settings.name)
    site = shutil.copytree(next(iter(place.sites.values())), tmp_path / "site")
    data = {"kind": "pictures", "folder": str(ward.images), "labels": str(ward.images / "note.txt")}
    (site / "site.toml").write_text(tomli_w.dumps({"site": {"name": "north"}, "data": data}))
    (tmp_path / "mandates").write_bytes(mandates.encode())
    load_enrolment(site).coordinators.take(mandates.encode(), note=lambda *_: None)
    out, known = tmp_path / "out", ("--config", site / "site.toml")
    for how in (known, ("--coordinator", tmp_path / "mandates")):
        done = wardround(*ward.asked(out, *how, "--json"))
        error = json.loads(done.stdout)["error"]
        assert done.exit_code == TrustError.exit_code
        assert "signed by ann, who gave up the lead on 2027-01-15 by mandate 2" in error["what"]
        assert f"--coordinator {identity_hex(ward.key)}" in error["remedy"]
    assert not out.exists()
    ann = fingerprint(identity_hex(ward.key))
    done = wardround(*ward.asked(out, *known, "--coordinator", ann))
    assert done.exit_code == 0, done.output
    assert f"ann, {ann}" in done.output
    said = answer(*ward.asked(out, *known, "--coordinator", ann))
    assert (said["signer"], said["signed_by"]) == ("ann", ann)
    bare = answer(*ward.asked(out, "--coordinator", identity_hex(ward.key)))
    assert (bare["signer"], bare["signed_by"]) == (None, ann)
    other = fingerprint(identity_hex(make_identity_key().public_key()))
    assert failed(wardround(*ward.asked(out, *known, "--coordinator", other, "--json")))[0] == TrustError.exit_code


def _card(ward: Ward) -> dict[str, Any]:
    roster = load_federation(ward.made.place.federation).roster
    keys = roster.by_site("north").model_dump(include={"site", "transport_key", "identity_key"})
    return keys | {"federation": "lung", "coordinator_key": roster.coordinator_key}


def test_nothing_is_computed_by_a_model_of_another_key(ward: Ward, tmp_path: Path) -> None:
    other = identity_hex(make_identity_key().public_key())
    done = wardround(*ward.asked(tmp_path / "out", "--coordinator", other, "--json"))
    assert failed(done)[0] == TrustError.exit_code
    assert not (tmp_path / "out").exists()


def test_without_any_key_it_is_said_which_to_name(ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, remedy = failed(wardround(*ward.asked(tmp_path / "out", "--json")))
    assert code == ConfigError.exit_code
    assert "--coordinator" in remedy


def test_answers_of_another_model_are_not_mixed_in(ward: Ward, tmp_path: Path) -> None:
    ward.run(tmp_path)
    there = sorted(tmp_path.rglob("*.json"))[0]
    there.write_text(there.read_text().replace(ward.exported.card.weights.sha256, "0" * 64))
    done = wardround(*ward.asked(tmp_path, "--coordinator", identity_hex(ward.key), "--json"))
    assert failed(done)[0] == ConfigError.exit_code


def test_answers_do_not_lie_among_the_images(ward: Ward) -> None:
    done = wardround(*ward.asked(ward.images / "out", "--coordinator", identity_hex(ward.key), "--json"))
    assert failed(done)[0] == ConfigError.exit_code
