"""A site fetches a frozen backbone once, and takes none but the pinned one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lone_site import LoneSite, a_study

from client.backbones import FOLDER
from client.intake import check_backbone
from client.jobs import Failed, OpenJob
from client.policy import Policy
from client.work.workbench import Workbench
from shared.canonical import digest
from shared.errors import Refusal, WireCode
from shared.update import pack

BACKBONE = pack({"w": np.arange(4, dtype=np.float32)})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=a_study(backbone={"sha256": digest(BACKBONE)}))
    yield lone
    lone.close()


def opened_with(site: LoneSite, payload: bytes, *, announced: int | None = None) -> None:
    """What an opening does that brings these bytes."""
    size = len(payload) if announced is None else announced
    parcel = site.coordinator.parcel(site.coordinator.open().model_copy(update={"payload_bytes": size}))
    site.line.payloads[parcel.id] = payload
    site.answering.receive(parcel)


def held(site: LoneSite) -> list[str]:
    return sorted(file.name for file in (site.folder / FOLDER).glob("*"))


def test_an_opening_brings_the_backbone_before_the_worker_is_asked(site: LoneSite) -> None:
    opened_with(site, BACKBONE)
    assert held(site) == [f"{digest(BACKBONE)}.brought.safetensors"]
    assert [type(job) for job in site.hands.jobs] == [OpenJob]


def test_a_backbone_that_lies_there_under_any_name_is_not_fetched(site: LoneSite) -> None:
    (site.folder / FOLDER).mkdir()
    (site.folder / FOLDER / "from the vendor.safetensors").write_bytes(BACKBONE)
    opened_with(site, b"what nobody fetches")
    assert held(site) == ["from the vendor.safetensors"]
    assert [type(job) for job in site.hands.jobs] == [OpenJob]


@pytest.mark.parametrize(
    ("payload", "announced"), [(pack({"w": np.ones(4, np.float32)}), None), (BACKBONE, len(BACKBONE) - 1)]
)
def test_another_backbone_or_a_longer_one_is_refused_and_not_kept(
    site: LoneSite, payload: bytes, announced: int | None
) -> None:
    opened_with(site, payload, announced=announced)
    assert (site.refused(), site.hands.jobs, held(site)) == ([WireCode.MODEL_UNSOUND], [], [])


@pytest.mark.parametrize("data", [pack({"w": np.full(4, np.nan, np.float32)}), b"no tensors"])
def test_a_pinned_backbone_has_to_be_a_finite_model(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(Refusal) as refused:
        check_backbone(tmp_path / "b", found=digest(data), digest=digest(data))
    assert refused.value.wire_code is WireCode.MODEL_UNSOUND


def test_a_worker_without_the_backbone_has_the_study_opened_anew(site: LoneSite) -> None:
    with pytest.raises(Refusal) as refused:
        Workbench(site.folder)._backbone(site.coordinator.study)
    assert refused.value.wire_code is WireCode.UNKNOWN_STUDY


def test_a_backbone_beyond_the_sites_limit_is_not_fetched(site: LoneSite) -> None:
    site.set_policy(backbone_bytes_at_most=len(BACKBONE) - 1)
    opened_with(site, BACKBONE)
    assert [said.rule for said in site.answers] == ["backbone_bytes_at_most"]
    assert held(site) == []
    assert site.hands.jobs == []


def test_a_backbone_that_lies_there_must_be_finite_too(tmp_path: Path) -> None:
    endless = pack({"w": np.full(4, np.inf, np.float32)})
    site = LoneSite(tmp_path, study=a_study(backbone={"sha256": digest(endless)}))
    (site.folder / FOLDER).mkdir()
    (site.folder / FOLDER / "vendor.safetensors").write_bytes(endless)
    opened_with(site, b"")
    assert site.hands.jobs == []
    site.close()


def test_a_backbone_that_the_worker_finds_not_to_fit_goes_and_what_it_put_there_stays(site: LoneSite) -> None:
    (site.folder / FOLDER).mkdir()
    (site.folder / FOLDER / "from the vendor.safetensors").write_bytes(b"of hospital IT")
    opened_with(site, BACKBONE)
    site.answering.hear(Failed(code=WireCode.PROTOCOL))
    assert site.refused() == [WireCode.PROTOCOL]
    assert held(site) == ["from the vendor.safetensors"]
    assert "removed from backbones/" in site.said[-1]


def test_a_backbone_goes_once_no_contract_holds_that_needs_it(site: LoneSite) -> None:
    first = site.coordinator.study
    opened_with(site, BACKBONE)
    site.finish()
    site.tell(site.coordinator.close(1))
    site.coordinator.study = a_study("hearts")
    site.open()
    assert held(site) == [f"{digest(BACKBONE)}.brought.safetensors"]  # the closed study may be opened again
    site.pass_days(Policy().contract_days)
    site.coordinator.study = first.model_copy(update={"study": first.study.model_copy(update={"name": "livers"})})
    opened_with(site, b"what nobody fetches")
    site.finish()
    assert held(site) == [f"{digest(BACKBONE)}.brought.safetensors"]  # another needs the same
    site.tell(site.coordinator.close(1))
    site.pass_days(Policy().contract_days)
    site.coordinator.study = a_study("spleens")
    site.open()
    assert held(site) == []


def test_a_backbone_goes_with_the_end_of_another_study_and_what_hospital_it_named_by_its_digest_stays(
    site: LoneSite,
) -> None:
    opened_with(site, BACKBONE)
    site.finish()
    site.tell(site.coordinator.close(1))
    own = site.folder / FOLDER / f"{digest(b'of hospital IT')}.safetensors"
    own.write_bytes(b"of hospital IT")
    site.coordinator.study = a_study("hearts")
    site.open()
    assert len(held(site)) == 2
    site.pass_days(Policy().contract_days)
    site.tell(site.coordinator.close(1))
    assert held(site) == [own.name]
