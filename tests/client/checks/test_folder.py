"""What the checks see in a site's folder, without a server."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import LoneSite, a_study

from client.checks.configuration import look_at_policy, look_at_settings, look_at_software
from client.checks.grounds import Grounds
from client.checks.images import look_at_images, look_at_permission
from client.notify_settings import NotifySettings
from client.policy import Policy
from client.settings import FILE_NAME, AboutSite, load_settings, write_settings
from shared.errors import ConfigError
from shared.protocol import PROTOCOL


def a_folder(root: Path, **changes: Any) -> Path:
    """A site's folder, with such parts in its site.toml."""
    site = LoneSite(root)
    site.close()
    file = site.folder / FILE_NAME
    settings = load_settings(file).model_copy(update=changes)
    file.unlink()
    write_settings(file, settings)
    return site.folder


def test_a_site_that_heard_nothing_yet_says_what_it_is(tmp_path: Path) -> None:
    found = look_at_software(Grounds(a_folder(tmp_path)))
    assert (found.outcome, found.facts["protocol"]) == ("pass", PROTOCOL)
    assert "no message has come" in found.what


def test_a_server_of_another_version_is_told_by_the_last_answer(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    said = {"study": "unknown", "round": 0, "bytes": 1, "refusal": "protocol", "kind": "refused"}
    site.site.ledger.append("release", said, time=site.site.now())
    assert look_at_software(Grounds(site.folder)).outcome == "fix"
    site.site.ledger.append("release", said | {"refusal": None}, time=site.site.now())
    assert look_at_software(Grounds(site.folder)).outcome == "pass"
    site.close()


def test_the_invitation_of_another_site(tmp_path: Path) -> None:
    found = look_at_settings(Grounds(a_folder(tmp_path, site=AboutSite(name="elsewhere"))))
    assert found.outcome == "fix"
    assert "elsewhere" in found.what


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"policy": Policy()}, "pass"),
        ({"policy": Policy(studies="ask")}, "pass"),
        ({"policy": Policy(smallest_cell=1)}, "warn"),
        ({"notify": NotifySettings(command=("no-such-command-here",))}, "fix"),
    ],
)
def test_a_policy_is_held_against_what_is_sane(tmp_path: Path, changes: dict[str, Any], outcome: str) -> None:
    found = look_at_policy(Grounds(a_folder(tmp_path, **changes)))
    assert found.outcome == outcome
    assert bool(found.remedy) is (outcome != "pass")


def test_a_policy_for_another_federation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another"):
        look_at_policy(Grounds(a_folder(tmp_path, policy=Policy(federation="another"))))


def test_a_study_that_the_policy_does_not_permit(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, policy=Policy(batch_size_at_least=64))
    found = look_at_permission(Grounds(folder, study=a_study(model={"width": 8})))
    assert found.outcome == "fix"
    assert "batch_size_at_least = 64" in found.what


@pytest.mark.parametrize(("at_least", "outcome"), [(5, "pass"), (500, "fix")])
def test_the_images_are_counted_and_have_to_be_enough(tmp_path: Path, at_least: int, outcome: str) -> None:
    folder = a_folder(tmp_path, policy=Policy(patients_at_least=at_least))
    pixels = np.random.default_rng(0).integers(0, 255, (90, 28, 28), dtype=np.uint8)
    split = np.array(["train", "validation", "test"])[np.arange(90) % 3]
    patients = np.array([f"patient {n}" for n in range(90)])
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(90) // 3 % 2, patient=patients, split=split)
    found = look_at_images(Grounds(folder, study=a_study(model={"width": 8})))
    assert (found.outcome, found.facts["training_patients"]) == (outcome, 30), found
    assert "90 images of 90 patients" in found.what or "patients_at_least = 500" in found.what
