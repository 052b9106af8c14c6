"""`wardround site pull` from a real Orthanc by DIMSE, over TLS: C-FIND with C-GET, and with C-MOVE."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_federation import answer, wardround
from pacs_bed import ROOT, instances, pixels, pulled
from pynetdicom import evt

from client.pacs.account import Account
from client.pacs.deliveries import Deliveries
from client.pacs.dimse import Dimse
from client.pacs.inflow import Inflow
from client.pacs.pull import Pull
from client.pacs.query import Query
from client.pacs.settings import PacsSettings
from client.pacs.shelf import Shelf
from client.settings import load_settings
from deploy.bench.orthanc import OURS, Orthanc
from deploy.bench.relay import Line, Relay
from shared.loopback import free_port

Site = Callable[..., Path]
FILES = instances("CR", "MR")
PIXELS = {uid: pixels(file) for uid, file in FILES.items()}
ALL = 'modalities = ["CR", "MR"]'


def moving(port: int) -> str:
    return f'retrieve = "move"\nstorage_host = "127.0.0.1"\nstorage_port = {port}'


@pytest.mark.parametrize("move", [False, True])
def test_images_come_as_they_are_stored_and_once(dimse_site: Site, orthanc: Orthanc, move: bool) -> None:
    config = dimse_site(ALL, moving(orthanc.storage_port) if move else "")
    first = answer("site", "pull", "--config", config)
    assert first["found"] == {"exams": 3, "series": 4, "instances": 8}
    assert (first["pulled"], first["already_there"], first["failed"], first["others"]) == (8, 0, {}, 0)
    assert pulled(config.parent) == PIXELS
    again = answer("site", "pull", "--config", config)
    assert (again["pulled"], again["already_there"]) == (0, 8)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('description = "*CHEST R*"\nbody_parts = ["CHEST"]', (1, 1, 3)),
        pytest.param("first_day = 2024-03-02\nlast_day = 2024-12-31", (1, 2, 3), marks=pytest.mark.slow),
        pytest.param('accessions = "list.txt"\nmodalities = ["MR"]', (2, 1, 2), marks=pytest.mark.slow),
    ],
)
def test_a_query_finds_what_it_says(dimse_site: Site, query: str, found: tuple[int, int, int]) -> None:
    config = dimse_site(query)
    (config.parent / "list.txt").write_text("A-1\nA-3\nA-9\n")
    assert tuple(answer("site", "pull", "--config", config, "--dry-run")["found"].values()) == found


def settings(config: Path, **changes: Any) -> PacsSettings:
    found = load_settings(config).data.pacs
    assert found is not None and found.dimse is not None
    return found.model_copy(update={"dimse": found.dimse.model_copy(update=changes)})


@contextmanager
def pulling(
    pacs: PacsSettings,
    folder: Path,
    *,
    kept: Callable[[Account], None] = lambda _: None,
    deliveries: Deliveries | None = None,
) -> Iterator[tuple[Pull, Account]]:
    """A pull of all that the settings say, patient for a second, and its account."""
    shelf, account = Shelf(folder, free_bytes=0), Account()
    inflow = Inflow(shelf, account, in_hours=lambda: True, kept=lambda: kept(account))
    archive = Dimse(pacs, folder, deliveries=deliveries)
    try:
        with shelf.open():
            query = Query(pacs.query)
            pull = Pull(archive, query, shelf=shelf, inflow=inflow, account=account, back_off_s=(0.05,) * 20)
            yield pull, account
    finally:
        archive.close()


@pytest.mark.slow
def test_a_line_that_is_cut_and_comes_back_loses_nothing(dimse_site: Site, orthanc: Orthanc, tmp_path: Path) -> None:
    with Relay(orthanc.dicom_port) as relay:

        def cut_once(account: Account) -> None:
            if account.pulled == 2:
                relay.become(Line.CUT)
                relay.become(Line.WHOLE)

        pacs = settings(dimse_site(ALL), port=relay.port)
        with pulling(pacs, tmp_path, kept=cut_once) as (pull, account):
            pull.run(pull.exams(), lanes=1)
    assert (account.pulled, account.failed) == (8, {})
    assert pulled(tmp_path) == PIXELS


def test_a_message_without_an_end_costs_itself(dimse_site: Site, tmp_path: Path) -> None:
    bounded = Deliveries(most_bytes=30_000)  # of the two that each have 80 kB
    with pulling(settings(dimse_site('modalities = ["US", "MR"]')), tmp_path, deliveries=bounded) as (pull, account):
        pull.run(pull.exams(), lanes=2)
    assert account.as_json()["failed"] == {"too_large": 2}
    assert pulled(tmp_path).keys() == instances("MR").keys()


def test_of_a_line_that_was_hung_up_nothing_more_is_kept(tmp_path: Path) -> None:
    deliveries, inflow = Deliveries(), Inflow(Shelf(tmp_path, free_bytes=0), Account(), in_hours=lambda: True)
    sent = SimpleNamespace(request=SimpleNamespace(AffectedSOPInstanceUID="1.2.3"))
    with deliveries.waiting(["1.2.3"], inflow) as batch:
        batch.overflowed = True
        assert dict(deliveries.handlers(batch))[evt.EVT_C_STORE](sent) == 0xA700
    assert batch.left == {"1.2.3"}


def test_what_nobody_asked_for_is_refused(dimse_site: Site, orthanc: Orthanc, tmp_path: Path) -> None:
    port = orthanc.storage_port
    with pulling(settings(dimse_site(ALL, moving(port))), tmp_path) as (_, account), orthanc.client() as client:
        ids = client.get(f"http://127.0.0.1:{orthanc.web_port}/instances").json()
        sent = client.post(f"http://127.0.0.1:{orthanc.web_port}/modalities/site/store", json=ids[:1])
    assert sent.status_code != 200
    assert (account.pulled, pulled(tmp_path)) == (0, {})


def refused(config: Path) -> tuple[int, dict[str, Any]]:
    done = wardround("site", "pull", "--json", "--config", config)
    assert not any(word in done.output for word in ("Planted", ROOT))
    return done.exit_code, json.loads(done.stdout)


def test_a_wrong_title_is_refused(dimse_site: Site) -> None:
    code, said = refused(dimse_site(ALL, called="SOMEBODY"))
    assert (code, said["error"]["code"]) == (6, "link")
    assert "AE titles" in said["error"]["remedy"]


def test_a_pacs_that_does_not_know_where_to_move_to_is_named(dimse_site: Site) -> None:
    code, said = refused(dimse_site(ALL, f'{moving(free_port())}\ncalling = "STRANGER"'))
    assert (code, said["data"]["pulled"]) == (6, 0)


def test_a_pacs_that_is_away_and_a_port_that_is_taken_are_named(dimse_site: Site, orthanc: Orthanc) -> None:
    config = dimse_site(ALL, moving(orthanc.dicom_port))
    assert refused(config)[1]["error"]["code"] == "resource"
    text = dimse_site(ALL).read_text().replace(f"port = {orthanc.dicom_port}", f"port = {free_port()}")
    config.write_text(text)
    code, said = refused(config)
    assert (code, "cannot be reached" in said["error"]["what"]) == (6, True)
    assert OURS not in said["error"]["what"]
