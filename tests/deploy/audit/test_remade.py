"""A study's models made again from the updates that its server kept, and what is said where they do not follow."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audited import KEPT, STUDIES, Handed
from live_federation import wardround
from typer.testing import Result

from deploy.audit.remade import Remade, remake
from server.journal import read_history
from shared.canonical import digest
from shared.chain import Entry
from shared.errors import ConfigError, TrustError
from shared.ledger import read_entries
from shared.update import Array, PackedFile, pack


@pytest.fixture
def folder(handed: Handed, tmp_path: Path) -> Path:
    """A copy of the folder of the study whose updates were kept."""
    return Path(shutil.copytree(handed.federation / "studies" / KEPT, tmp_path / KEPT))


def entries(folder: Path) -> list[Entry]:
    return list(read_entries(folder / "journal.jsonl"))


def told(entries: list[Entry], kind: str, change: Callable[[dict[str, Any]], object]) -> list[Entry]:
    """The first entry of a kind says something else."""
    n = next(i for i, entry in enumerate(entries) if entry.type == kind)
    change(said := entries[n].data)
    return [*entries[:n], replace(entries[n], fields={**entries[n].fields, "data": said}), *entries[n + 1 :]]


def remade(folder: Path) -> Remade:
    return remake(entries(folder), folder)


def state(file: Path) -> list[tuple[str, Array]]:
    return list(PackedFile(file).items())


def kept(folder: Path, number: int, site: str = "north") -> Path:
    (file,) = (folder / "updates" / f"round-{number:05d}").glob(f"{site}.*")
    return file


def test_every_model_is_made_again_bit_for_bit(folder: Path) -> None:
    found = remade(folder)
    assert [one.outcome for one in found.rounds] == ["identical"] * 2
    assert (found.final, found.fault) == (True, None)
    history = read_history(folder / "journal.jsonl")
    assert {kept(folder, n).name.split(".")[1] for n in (1, 2)} == {
        said.update_digest for said in history.readies if said.site == "north"
    }


def test_an_update_that_was_changed_or_taken_away_is_named_with_its_round(folder: Path) -> None:
    file = kept(folder, 2)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    for _ in range(2):  # changed, then gone
        found = remade(folder)
        assert found.final is False
        assert found.fault is not None
        assert (found.fault.round, found.rounds[0].outcome) == (2, "identical")
        assert "update of north is absent, or another one" in found.fault.why
        file.unlink(missing_ok=True)


def test_a_journal_that_admits_other_weights_makes_another_model(folder: Path) -> None:
    """Whoever holds the coordinator's key may write another journal; the model does not follow it."""
    found = remake(told(entries(folder), "update_admitted", lambda said: said.update(examples=99)), folder)
    assert found.fault is not None
    assert (found.fault.round, found.fault.why) == (1, "the model made from the round's updates is another one")


def test_another_start_model_and_a_site_that_counted_without_an_update(folder: Path) -> None:
    said = [e for e in entries(folder) if not (e.type == "update_admitted" and e.data["site"] == "south")]
    found = remake(said, folder)
    assert found.fault is not None and "no update of it was let in" in found.fault.why
    (folder / "models" / "start.safetensors").unlink()
    found = remade(folder)
    assert found.fault is not None and "start model" in found.fault.why


@pytest.mark.parametrize("named", ["0" * 64, "of round 1"])
def test_a_final_model_that_was_not_made_from_the_updates_is_no_final_model(folder: Path, named: str) -> None:
    """Nor is one of an earlier round, where the last one is what the study agreed on."""
    first = next(entry.data["model_digest"] for entry in entries(folder) if entry.type == "round_committed")
    digest = first if named == "of round 1" else named
    found = remake(told(entries(folder), "study_finished", lambda said: said.update(model_digest=digest)), folder)
    assert [one.outcome for one in found.rounds] == ["identical"] * 2
    assert found.final is False
    assert found.astray == "the final model that the journal names is not the one after round 2"


def test_another_file_in_the_final_models_place_is_not_bit_identical(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.unlink()
    shutil.copy(folder / "models" / "round-00001.safetensors", file)
    found = remade(folder)
    assert (found.final, found.fault) == (False, None)
    assert found.astray == "model.safetensors is not bit-identical with the final model, the one after round 2"
    file.unlink()
    assert (remade(folder).final, remade(folder).astray) == (None, "")


def test_updates_that_were_not_kept_are_no_fault(handed: Handed, folder: Path) -> None:
    found = remade(handed.federation / "studies" / STUDIES[0])
    assert ([one.outcome for one in found.rounds], found.final, found.fault) == (["not_kept"], None, None)
    assert not (handed.federation / "studies" / STUDIES[0] / "updates").exists()
    shutil.rmtree(folder / "updates" / "round-00002")
    found = remade(folder)
    assert [one.outcome for one in found.rounds] == ["identical", "not_kept"]


def test_another_studys_folder_and_no_folder_of_a_study(handed: Handed, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another study"):
        remake(entries(folder), handed.federation / "studies" / STUDIES[0])
    with pytest.raises(ConfigError, match="not the folder of a study"):
        remake(entries(folder), tmp_path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("update_admitted", {"examples": None}),
        ("update_admitted", {"discount": "x" * 9}),
        ("update_admitted", {"site": "../../north"}),
        ("update_ready", {"steps": [1]}),
        ("round_committed", {"round": 7}),
        ("round_committed", {"round": "1"}),
        ("round_committed", {"counted": {"north": 1}}),
        ("site_opened", {"examples": {"train": {}}}),
        ("study_finished", {"model_digest": []}),
    ],
)
def test_an_entry_in_another_form_is_named(folder: Path, kind: str, change: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match=kind):
        remake(told(entries(folder), kind, lambda said: said.update(change)), folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_an_update_that_no_server_admits_makes_another_model_and_no_noise(folder: Path, value: float) -> None:
    """Who holds the coordinator's key can let anything in, by its journal; a warning is an error here."""
    tensors = {
        name: np.full_like(one, value) if one.dtype == np.float32 else one for name, one in state(kept(folder, 1))
    }
    data = pack(tensors)
    kept(folder, 1).unlink()
    (folder / "updates" / "round-00001" / f"north.{digest(data)}.safetensors").write_bytes(data)
    found = remake(
        told(entries(folder), "update_admitted", lambda said: said.update(update_digest=digest(data))), folder
    )
    assert found.fault is not None
    assert (found.fault.round, found.fault.why) == (1, "the model made from the round's updates is another one")


@pytest.mark.parametrize("data", [b"", b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{}" * 9])
def test_a_start_model_that_is_none_is_a_bad_file(folder: Path, data: bytes) -> None:
    start = folder / "models" / "start.safetensors"
    start.unlink()
    start.write_bytes(data)
    with pytest.raises(TrustError, match="tensor file"):
        remake(told(entries(folder), "study_started", lambda said: said.update(start_digest=digest(data))), folder)


def test_a_pipe_in_the_studys_place_is_no_study(folder: Path) -> None:
    (folder / "study.json").unlink()
    os.mkfifo(folder / "study.json")
    with pytest.raises(ConfigError, match="not the folder of a study"):
        remade(folder)


def test_what_is_no_file_in_an_updates_place_is_no_update(folder: Path) -> None:
    """Reading a pipe would wait for ever."""
    file = kept(folder, 1)
    file.unlink()
    os.mkfifo(file)
    assert (fault := remade(folder).fault) is not None
    assert "absent, or another one" in fault.why


# ------------------------------------------------------------------ the command


def reconciled(handed: Handed, folder: Path, *words: str) -> Result:
    roster = handed.federation / "roster.signed"
    return wardround("audit", "reconcile", folder / "journal.jsonl", handed.ledger, "--key", roster, *words)


def test_reconcile_makes_the_models_again(handed: Handed, folder: Path) -> None:
    done = reconciled(handed, folder, "--study", str(folder), "--json")
    said = json.loads(done.stdout)["data"]
    assert said["models"] == [{"round": n, "bit_identical": True} for n in (1, 2)]
    assert (said["final_model_recomputed"], said["not_covered"]) == (True, [])
    page = reconciled(handed, folder, "--study", str(folder)).stdout
    assert "bit for bit as the journal says; the final model is one of them" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 80


def test_reconcile_says_no_where_a_model_does_not_follow(handed: Handed, folder: Path) -> None:
    kept(folder, 1).unlink()
    done = reconciled(handed, folder, "--study", str(folder), "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == TrustError.exit_code
    assert said["data"]["final_model_recomputed"] is False
    assert said["data"]["models"][0]["bit_identical"] is False
    assert "round 1" in said["error"]["what"]


def test_reconcile_says_no_where_the_final_model_was_swapped(handed: Handed, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shutil.copy(folder / "models" / "start.safetensors", folder / "model.safetensors")
    done = reconciled(handed, folder, "--study", str(folder), "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["data"]["final_model_recomputed"]) == (TrustError.exit_code, False)
    assert "model.safetensors is not bit-identical" in said["error"]["what"]
    page = " ".join(reconciled(handed, folder, "--study", str(folder)).stdout.split())
    assert "2 made again" in page
    assert "model.safetensors is not bit-identical" in page


def test_reconcile_says_why_no_model_was_made(handed: Handed, folder: Path) -> None:
    said = json.loads(reconciled(handed, folder, "--json").stdout)["data"]
    assert (said["final_model_recomputed"], said["models"]) == (None, [])
    assert "no --study folder" in said["not_covered"][0]
    shutil.rmtree(folder / "updates")
    done = reconciled(handed, folder, "--study", str(folder), "--json")
    said = json.loads(done.stdout)["data"]
    assert (done.exit_code, said["final_model_recomputed"]) == (0, None)
    assert said["models"] == [{"round": 1, "bit_identical": None, "why": "updates were not kept"}]
    assert "updates were not kept" in said["not_covered"][0]
