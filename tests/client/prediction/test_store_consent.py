"""What was signed holds for one model and one PACS, and only while it is the ledger's last word."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pacs_bed import join
from pydicom.dataset import Dataset

from client.join import load_enrolment
from client.pacs.results import Result
from client.pacs.storing import Stored, store_results
from client.prediction.store_consent import ENTRY, WITHDRAWN, StoreConsent, StoreConsents
from client.waiting_entries import FILE_NAME, keep_entry
from shared.errors import TrustError

MODEL, OTHER = "ab" * 32, "cd" * 32
PACS = "https://pacs.example:443/projects/hospital"
TODAY = date(2026, 1, 5)


@pytest.fixture
def consents(tmp_path: Path) -> StoreConsents:
    join(tmp_path)
    return StoreConsents(tmp_path, load_enrolment(tmp_path))


def sign(consents: StoreConsents, folder: Path, model: str = MODEL, **changed: Any) -> None:
    said = {"destination": PACS, "person": "ada", "given": "2026-01-02T12:00:00.000Z", "until": "2026-02-01"} | changed
    consent = StoreConsent.model_validate({"model": model} | said)
    keep_entry(folder, ENTRY, consent.model_dump(mode="json"))
    consents.give(consent)


def insist(consents: StoreConsents, model: str = MODEL, *, today: date = TODAY) -> StoreConsent:
    return consents.insist(model, destination=PACS, today=today, command="allow-store")


def test_what_was_signed_holds_from_its_first_day_to_its_last(tmp_path: Path, consents: StoreConsents) -> None:
    sign(consents, tmp_path)
    assert insist(consents).person == insist(consents, today=date(2026, 2, 1)).person == "ada"
    with pytest.raises(TrustError, match="ended"):
        insist(consents, today=date(2026, 2, 2))
    with pytest.raises(TrustError, match="clock"):
        insist(consents, today=date(2026, 1, 2) - timedelta(days=1))


def test_a_file_that_was_put_back_after_the_withdrawal_is_none(tmp_path: Path, consents: StoreConsents) -> None:
    sign(consents, tmp_path)
    file = next((tmp_path / "store-consents").iterdir())
    copied = file.read_bytes()
    keep_entry(tmp_path, WITHDRAWN, {"model": MODEL, "person": "ada", "given": "2026-01-03T12:00:00.000Z"})
    with pytest.raises(TrustError, match="last word"):
        insist(consents)  # a kill came before the file was gone
    consents.withdraw(MODEL)
    file.write_bytes(copied)
    with pytest.raises(TrustError, match="last word"):
        insist(consents)
    sign(consents, tmp_path, until="2026-01-20", given="2026-01-04T12:00:00.000Z")
    assert insist(consents).until == date(2026, 1, 20)
    file.write_bytes(copied)  # whose end is later
    with pytest.raises(TrustError, match="last word"):
        insist(consents)


def test_what_was_signed_before_a_line_was_damaged_is_signed_anew(tmp_path: Path, consents: StoreConsents) -> None:
    sign(consents, tmp_path)
    assert insist(consents).person == "ada"
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"type":"store_consent_with\n')  # perhaps about this model
    for again in (consents, StoreConsents(tmp_path, load_enrolment(tmp_path))):
        with pytest.raises(TrustError, match="last word"):
            insist(again)
    sign(consents, tmp_path)
    assert insist(consents).person == "ada"


class WithdrawingDepot:
    """A PACS while whose first answer somebody takes back what was signed."""

    def __init__(self, folder: Path) -> None:
        self.taken: list[str] = []
        self._folder = folder

    def store(self, result: Result) -> None:
        self.taken.append(result.model)
        keep_entry(self._folder, WITHDRAWN, {"model": result.model, "person": "ada", "given": "2026-01-05T12:00:00Z"})

    def close(self) -> None:
        """There is no line."""


def result(model: str, uid: str) -> Result:
    dataset = Dataset()
    dataset.SOPInstanceUID = uid
    return Result("sr", model, b"a report", dataset)


@pytest.mark.parametrize("second", [MODEL, OTHER], ids=["withdrawn meanwhile", "another model meanwhile"])
def test_a_run_stores_nothing_that_is_not_signed_for_at_that_moment(
    tmp_path: Path, consents: StoreConsents, second: str
) -> None:
    sign(consents, tmp_path)
    depot, found, written = WithdrawingDepot(tmp_path), Stored(), list[dict[str, Any]]()
    with pytest.raises(TrustError):
        store_results(
            [result(MODEL, "1.2.1"), result(second, "1.2.2")],
            depot,
            key=b"k" * 32,
            destination=PACS,
            before=(),
            in_hours=lambda: True,
            insist=lambda model: insist(consents, model),
            write=lambda kind, said: written.append({"type": kind} | said),
            found=found,
        )
    assert depot.taken == [MODEL]
    assert (found.stored, found.models) == (1, {MODEL})
    assert [one["type"] for one in written] == ["result_sent", "result_stored"]
