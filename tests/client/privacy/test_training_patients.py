"""The worker says who trains in a private study, once, and holds to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from few_patients import PRIVATE, site_of_few, write_images
from lone_site import LoneSite, a_study

from client.imaging.examples import SiteData
from client.jobs import OpenJob
from client.privacy.patients import KEY_FILE, KEYED_BYTES, key_check, keyed, patient_key
from client.privacy.training_patients import MOST_PATIENTS, TrainingPatients
from client.work.workbench import Workbench
from server.launch import start_state
from shared.errors import Refusal, TrustError, WireCode
from shared.study import Study
from shared.update import table_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = site_of_few(tmp_path, study=PRIVATE)
    yield lone
    lone.close()


def opened(site: LoneSite, study: Study = PRIVATE) -> frozenset[bytes]:
    Workbench(site.folder).open(OpenJob(study=study, tensors=table_of(start_state(study))))
    return TrainingPatients(site.folder).offered(study.digest())


def read_again(site: LoneSite) -> SiteData:
    """As a worker does that was started in the middle of a study."""
    return Workbench(site.folder)._data(PRIVATE)


def test_who_trains_is_offered_by_keyed_hash_and_nobody_else(site: LoneSite) -> None:
    offered = opened(site)
    assert len(offered) == 6
    assert {len(patient) for patient in offered} == {KEYED_BYTES}
    assert opened(site) == offered


def test_who_came_after_the_opening_does_not_train(site: LoneSite) -> None:
    training = TrainingPatients(site.folder)
    training.agree(PRIVATE.digest(), opened(site))
    write_images(site, 12)  # two of the four new ones were the last two before
    data = read_again(site)
    assert (data.train.patient_count, data.counts.set_aside["not_agreed"]) == (6, 8)
    assert (data.validation.patient_count, data.test.patient_count) == (1, 1)
    assert len(opened(site)) == 10  # opened anew, it has them


def test_the_worker_that_opened_the_study_trains_those_alone_who_were_agreed(site: LoneSite) -> None:
    bench, training = Workbench(site.folder), TrainingPatients(site.folder)
    bench.open(OpenJob(study=PRIVATE, tensors=table_of(start_state(PRIVATE))))
    training.agree(PRIVATE.digest(), frozenset(sorted(training.offered(PRIVATE.digest()))[:4]))
    assert bench._work(PRIVATE)._data.train.patient_count == 4


def test_where_nothing_was_agreed_nobody_trains(site: LoneSite) -> None:
    opened(site)
    with pytest.raises(Refusal) as refusal:
        read_again(site)
    assert refusal.value.wire_code is WireCode.UNKNOWN_STUDY


def test_a_study_that_is_not_private_offers_nobody(site: LoneSite) -> None:
    with pytest.raises(Refusal):
        opened(site, a_study(model={"width": 8}))
    assert not (site.folder / "training-patients").exists()


def test_a_list_that_is_none_is_refused(site: LoneSite) -> None:
    training = TrainingPatients(site.folder)
    for wrong in (b"", b"\0" * (KEYED_BYTES + 1), b"\0" * KEYED_BYTES * (MOST_PATIENTS + 1)):
        training.offer("a" * 64, frozenset({wrong}))
        with pytest.raises(Refusal) as refusal:
            training.offered("a" * 64)
        assert refusal.value.wire_code is WireCode.WORKER_CRASHED


def test_the_key_stays_the_same_and_is_the_sites_alone(site: LoneSite, tmp_path: Path) -> None:
    key = patient_key(site.folder)
    assert patient_key(site.folder) == key
    assert (site.folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / "elsewhere").mkdir()
    other = patient_key(tmp_path / "elsewhere")
    assert keyed(key, "a") != keyed(other, "a")
    assert key_check(key, "salt") != key_check(key, "other salt")


@pytest.mark.parametrize("spoilt", ["mode", "content"])
def test_a_key_that_is_exposed_or_damaged_is_not_used(site: LoneSite, spoilt: str) -> None:
    path = site.folder / KEY_FILE
    if spoilt == "mode":
        path.chmod(0o644)
    else:
        path.write_text("not hex")
    with pytest.raises(TrustError, match="patients' hashes"):
        patient_key(site.folder)
