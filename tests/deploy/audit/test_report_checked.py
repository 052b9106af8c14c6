"""What the page proves of journals, models and budget comes from the audit's own checks; it says where it has none."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from audited import KEPT, STUDIES, Handed
from reported import MADE, dossier_of, goes_on, said, standing

from deploy.audit.report.checked import budget_claims, journal_claims, journal_section, privacy_section
from deploy.audit.report.claims import claims, headline, report_failure
from deploy.audit.report.compared import compare
from deploy.audit.report.dossier import Dossier, compile_dossier
from deploy.audit.report.sections import sections
from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key, save_key
from shared.ledger import read_lines

CHARGE = {
    **{"study": "hearts", "study_digest": "a" * 64, "round": 1, "clip_norm": 1.0, "delta": 1e-6},
    **{"noise_multiplier": 1.1, "sampling_rate": 0.1, "images_per_patient": 2, "steps": 20},
}
LEFT = {"study": "hearts", "round": 1, "update_digest": "b" * 64, "tells": []}


def beside(handed: Handed, ledger: Path, *, journals: tuple[Path, ...] = (), studies: tuple[Path, ...] = ()) -> Dossier:
    return compile_dossier(
        lambda: read_lines(ledger),
        handed.signer,
        [],
        file=ledger.name,
        made=MADE,
        journals=lambda: compare(ledger, handed.signer, journals, studies),
    )


def breaches(dossier: Dossier) -> Sequence[tuple[str, ...]]:
    return next(section.rows for section in sections(dossier) if section.id == "breaches")


@pytest.fixture
def folder(handed: Handed, tmp_path: Path) -> Path:
    return Path(shutil.copytree(handed.federation / "studies" / KEPT, tmp_path / KEPT))


# ------------------------------------------------------------------ the journal


def test_without_a_journal_it_is_not_covered(handed: Handed) -> None:
    dossier = dossier_of(handed, handed.lines)
    assert standing(dossier, "not covered, no journal given") == ["open"]
    assert journal_section(dossier).rows == []


def test_a_journal_that_agrees_proves_what_arrived(handed: Handed) -> None:
    dossier = beside(handed, handed.ledger, journals=handed.journals[:1])
    assert standing(dossier, "lungs: of 2 updates that left by the ledger, 2 stand in") == ["proven"]
    assert standing(dossier, "folder was not given") == ["open"]
    assert standing(dossier, f"in {STUDIES[1]}: not covered, no journal given") == ["open"]
    assert [row[:4] for row in journal_section(dossier).rows] == [("lungs", "2", "2", "2")]


def test_what_did_not_arrive_is_not_in_the_journal(handed: Handed, tmp_path: Path) -> None:
    more = "release", {"study": "lungs", "round": 3, "kind": "ready", "bytes": 9, "update_digest": "9" * 64}
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(goes_on(handed, more)))
    dossier = beside(handed, tmp_path / "ledger.jsonl", journals=handed.journals[:1])
    assert standing(dossier, "of 3 updates that left by the ledger, 2 stand in") == ["proven"]
    assert standing(dossier, "1 point that nobody can settle") == ["open"]


def test_a_journal_whose_end_nobody_signed_proves_nothing(handed: Handed, tmp_path: Path) -> None:
    lines = handed.journals[0].read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    dossier = beside(handed, handed.ledger, journals=(tmp_path / "journal.jsonl",))
    assert standing(dossier, "lungs: of 2 updates") == ["declared"]
    assert standing(dossier, "nobody can settle") == ["open"]


def test_the_models_are_made_again_where_the_folder_is_given(handed: Handed, folder: Path) -> None:
    dossier = beside(handed, handed.ledger, journals=handed.journals[:1], studies=(folder,))
    assert standing(dossier, "bit for bit from the updates in the coordinator's folder") == ["proven"]
    assert standing(dossier, "the other sites', and what each weighs") == ["declared"]
    assert standing(dossier, "no journal given") == []
    shutil.copy(folder / "models" / "start.safetensors", swapped := folder / "swapped")
    swapped.replace(folder / "model.safetensors")
    dossier = beside(handed, handed.ledger, studies=(folder,))
    assert standing(dossier, "model.safetensors is not bit-identical") == ["broken"]
    assert "model.safetensors is not bit-identical" in journal_section(dossier).rows[0][-1]
    shutil.rmtree(folder / "updates" / "round-00002")
    dossier = beside(handed, handed.ledger, studies=(folder,))
    assert standing(dossier, "from round 2 on no update was kept") == ["open"]


def test_what_the_journal_contradicts_comes_first(handed: Handed, folder: Path, tmp_path: Path) -> None:
    def change(entry: dict[str, Any]) -> dict[str, Any]:
        update = entry["type"] == "release" and entry["data"]["update_digest"]
        return entry | {"data": entry["data"] | {"bytes": 10}} if update else entry

    lines = handed.written_anew(change)
    (tmp_path / "forged.jsonl").write_bytes(b"".join(lines))
    next(folder.glob("updates/round-00001/*")).unlink()
    dossier = beside(handed, tmp_path / "forged.jsonl", journals=handed.journals[:1], studies=(folder,))
    first, *_ = claims(dossier)
    assert "ledger and journal part in" in " ".join(one.text for one in journal_claims(dossier))
    assert standing(dossier, "lungs: ledger and journal part in") == ["broken"]
    assert standing(dossier, "The model of round 1 does not follow") == ["broken"]
    assert any("10 bytes left" in row[2] for row in breaches(dossier))
    assert "round 1: the update of" in journal_section(dossier).rows[1][-1]
    assert first.standing == "proven"  # the page sorts; the chain itself holds
    assert headline(dossier) == "consistent, end not anchored, and contradicted"
    error = report_failure(dossier)
    assert error is not None and error.what.startswith("lungs: ledger and journal part in")


def test_a_broken_ledger_is_not_laid_beside_anything(handed: Handed, tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl").write_bytes(b"".join(handed.lines[:4] + handed.lines[5:]))
    dossier = beside(handed, tmp_path / "cut.jsonl", journals=handed.journals)
    assert standing(dossier, "not compared, for the ledger is broken") == ["open"]


def test_no_journal_and_a_broken_one(handed: Handed, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no journal"):
        beside(handed, handed.ledger, studies=(tmp_path,))
    (tmp_path / "journal.jsonl").write_bytes(handed.journals[0].read_bytes()[5:])
    with pytest.raises(TrustError):
        beside(handed, handed.ledger, journals=(tmp_path / "journal.jsonl",))


def test_the_command_takes_journals_for_heads_too(handed: Handed, folder: Path, tmp_path: Path) -> None:
    save_key(tmp_path / "auditor.pem", make_identity_key())
    words = ("--key", handed.card, "--sign", tmp_path / "auditor.pem", "--to", tmp_path / "page.html")
    code, answer = said(handed.ledger, *words, "--journal", handed.journals[0], "--study", folder)
    found: dict[str, Any] = answer["data"]
    assert (code, found["verdict"]) == (0, "consistent and anchored")
    texts = [one["text"] for one in found["claims"] if one["standing"] == "proven"]
    assert sum("updates that left by the ledger" in text for text in texts) == 2
    assert sum("bit for bit" in text for text in texts) == 1


# ------------------------------------------------------------------ the budget


def test_an_update_of_a_private_study_without_a_charge_is_broken(handed: Handed) -> None:
    paid = dossier_of(handed, goes_on(handed, ("privacy_spent", CHARGE), ("release", LEFT)))
    assert [one.standing for one in budget_claims(paid)] == ["declared", "declared"]
    again = LEFT | {"update_digest": "c" * 64, "tells": ["scores.test"]}
    dossier = dossier_of(handed, goes_on(handed, ("privacy_spent", CHARGE), ("release", LEFT), ("release", again)))
    assert standing(dossier, "2 times something left a private study without a charge") == ["broken"]
    (row,) = privacy_section(dossier).rows
    assert (row[0], row[-2:]) == ("hearts", ("2", "2"))


def test_a_figure_below_what_the_entries_cost_is_broken(handed: Handed) -> None:
    low = CHARGE | {"lifetime_epsilon": 0.01, "lifetime_delta": 1e-6}
    dossier = dossier_of(handed, goes_on(handed, ("privacy_spent", low)))
    assert standing(dossier, "hearts: the site's own figure is below") == ["broken"]
    assert privacy_section(dossier).rows[0][2] == "0.01"


def test_a_charge_that_cannot_be_read_is_said_and_hides_no_later_entry(handed: Handed) -> None:
    odd = CHARGE | {"steps": "many"}
    dossier = dossier_of(handed, goes_on(handed, ("privacy_spent", odd), ("approval", {"by": "Jo Doe"})))
    assert standing(dossier, "An entry about privacy cannot be read") == ["broken"]
    assert dossier.human.first[-1].data == {"by": "Jo Doe"}


def test_where_nothing_was_private_nothing_is_claimed(handed: Handed) -> None:
    dossier = dossier_of(handed, handed.lines)
    assert list(budget_claims(dossier)) == []
