"""`wardround site pull` from a real Orthanc by DICOMweb, over TLS."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live_federation import answer, wardround
from pacs_bed import ROOT, certificates, instances, join, pixels, pulled

from client.pacs.account import Account
from client.pacs.inflow import Inflow
from client.pacs.pull import Pull
from client.pacs.pull_entries import BEGAN, ENDED
from client.pacs.query import Keys, Level, Query
from client.pacs.settings import PacsSettings, QuerySettings
from client.pacs.shelf import Shelf
from client.pacs.web import Web
from client.waiting_entries import FILE_NAME, entries_said
from deploy.audit.vocabulary import unknown_in
from deploy.bench.orthanc import Orthanc
from deploy.bench.relay import Line, Relay
from shared.ledger import read_entries

Site = Callable[..., Path]
FILES = instances("CR", "MR")
ALL = 'modalities = ["CR", "MR"]'


def refused(*words: object) -> tuple[int, dict[str, Any]]:
    """(exit code, answer) of a pull that fails; nothing that names a patient is in it."""
    done = wardround("site", "pull", "--json", *words)
    assert not any(word in done.output for word in ("Planted", ROOT, "of-nobody"))
    return done.exit_code, json.loads(done.stdout)


def test_images_come_as_they_are_stored_and_once(web_site: Site) -> None:
    config = web_site(ALL)
    first = answer("site", "pull", "--config", config)
    assert first["found"] == {"exams": 3, "series": 4, "instances": 8}
    assert (first["pulled"], first["already_there"], first["failed"], first["others"]) == (8, 0, {}, 0)
    assert pulled(config.parent) == {uid: pixels(file) for uid, file in FILES.items()}
    again = answer("site", "pull", "--config", config)
    assert (again["pulled"], again["pulled_bytes"], again["already_there"]) == (0, 0, 8)


@pytest.mark.parametrize(
    ("query", "found", "left_out"),
    [
        ('modalities = ["CR"]', (2, 3, 6), {}),
        ('modalities = ["MR"]\nbody_parts = ["KNEE"]', (1, 1, 2), {}),
        ('description = "*chest*"\nbody_parts = ["CHEST"]', (2, 2, 5), {"body_part_unstated": 1}),
        ("first_day = 2024-03-02\nlast_day = 2024-12-31", (1, 2, 3), {}),
        ("first_day = 2024-06-01", (2, 3, 5), {}),
        ('accessions = "list.txt"', (2, 2, 5), {}),
        ('accessions = "list.txt"\nmodalities = ["MR"]', (2, 1, 2), {"modality": 1}),
        ('description = "Chest follow-UP"', (1, 2, 3), {}),
        ('description = "nothing of the kind"', (0, 0, 0), {}),
    ],
)
def test_a_query_finds_what_it_says(
    web_site: Site, query: str, found: tuple[int, int, int], left_out: dict[str, int]
) -> None:
    config = web_site(query)
    (config.parent / "list.txt").write_text("A-1\nA-3\nA-9\n")
    said = answer("site", "pull", "--config", config, "--dry-run")
    assert tuple(said["found"].values()) == found
    assert said["left_out"] == left_out
    assert (said["pulled"], said["dry_run"]) == (0, True)


def settings(orthanc: Orthanc, port: int, **more: Any) -> PacsSettings:
    scheme = "http" if port == orthanc.web_port else "https"
    web = {"url": f"{scheme}://127.0.0.1:{port}/dicom-web", "login_file": orthanc.login_file}
    return PacsSettings.model_validate({"ca": orthanc.ca, "web": web, "query": {"modalities": ["CR", "MR"]}} | more)


def test_the_whole_of_a_long_list_is_read_page_by_page(orthanc: Orthanc, tmp_path: Path) -> None:
    web = Web(settings(orthanc, orthanc.web_port), tmp_path, page=2)
    (keys,) = Query(QuerySettings(description="*")).for_exams()
    exams = [found["StudyInstanceUID"] for found in web.find(Level.EXAM, keys)]
    web.close()
    assert sorted(exams) == [f"{ROOT}.{number}" for number in (1, 2, 3, 4)]


def test_a_line_that_is_cut_and_comes_back_loses_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    shelf, account = Shelf(tmp_path, free_bytes=0), Account()
    with Relay(orthanc.web_port, pem=orthanc.pem) as relay, shelf.open():

        def cut_once() -> None:
            if account.pulled == 3:
                relay.become(Line.CUT)
                relay.become(Line.WHOLE)

        web = Web(settings(orthanc, relay.port), tmp_path)
        inflow = Inflow(shelf, account, in_hours=lambda: True, kept=cut_once)
        query = Query(settings(orthanc, relay.port).query)
        pull = Pull(web, query, shelf=shelf, inflow=inflow, account=account, back_off_s=(0.05,) * 20)
        pull.run(pull.exams(), lanes=2)
        web.close()
    assert (account.pulled, account.failed) == (8, {})
    assert pulled(tmp_path).keys() == FILES.keys()


def test_an_instance_that_is_gone_fails_alone(orthanc: Orthanc, tmp_path: Path) -> None:
    class Forgetful(Web):
        def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
            yield from super().find(level, keys)
            if level is Level.INSTANCE:
                yield {"SOPInstanceUID": "1.2.3"}

    shelf, account = Shelf(tmp_path, free_bytes=0), Account()
    inflow = Inflow(shelf, account, in_hours=lambda: True)
    web = Forgetful(settings(orthanc, orthanc.web_port), tmp_path)
    with shelf.open():
        query = Query(settings(orthanc, orthanc.web_port).query)
        pull = Pull(web, query, shelf=shelf, inflow=inflow, account=account)
        pull.run(pull.exams(), lanes=1)
    web.close()
    assert account.pulled == 8
    assert account.as_json()["failed"] == {"gone": 1}


def test_a_wrong_password_is_refused(web_site: Site) -> None:
    config = web_site(ALL)
    (config.parent / "login").write_text("ward:Planted\n")
    code, said = refused("--config", config)
    assert (code, said["error"]["code"]) == (6, "link")
    assert "HTTP 401" in said["error"]["what"]
    (config.parent / "login").chmod(0o644)
    assert refused("--config", config)[0] == 4


def test_a_pacs_that_nobody_vouches_for_is_refused(web_site: Site, tmp_path: Path) -> None:
    _, other = certificates(tmp_path)
    code, said = refused("--config", web_site(ALL, ca=str(other)))
    assert (code, "certificate" in said["error"]["what"]) == (4, True)


def test_a_pacs_that_is_away_is_named(web_site: Site) -> None:
    with Relay(1) as relay:
        relay.become(Line.CUT)
        code, said = refused("--config", web_site(ALL, url=f"https://127.0.0.1:{relay.port}/dicom-web"))
    assert (code, said["data"]["pulled"]) == (6, 0)
    assert "give the same command again" in said["error"]["remedy"]


def test_an_address_that_is_no_dicomweb_is_named(web_site: Site, front: str) -> None:
    code, said = refused("--config", web_site(ALL, url=front.removesuffix("/dicom-web")))
    assert (code, said["error"]["code"]) == (6, "link")


def test_a_wrong_path_is_no_empty_pacs(web_site: Site, front: str) -> None:
    answer("site", "pull", "--config", web_site(ALL))
    config = web_site(ALL, url=f"{front}-elsewhere")
    code, said = refused("--config", config)
    assert (code, said["error"]["code"], said["data"]["others"]) == (6, "link", None)
    assert "data.pacs.web.url" in said["error"]["remedy"]
    assert "Remove" not in wardround("site", "pull", "--config", config).output


def test_of_a_query_that_finds_nothing_no_removal_is_advised(web_site: Site) -> None:
    answer("site", "pull", "--config", web_site(ALL))
    nothing = wardround("site", "pull", "--config", web_site('description = "nothing of the kind"'))
    assert (nothing.exit_code, "finds nothing" in nothing.output, "Remove" in nothing.output) == (0, True, False)
    some = wardround("site", "pull", "--config", web_site('modalities = ["MR"]'))
    assert "6 files of earlier pulls are not what this query finds" in " ".join(some.output.split())


def test_each_pull_is_written_down_and_no_patient_with_it(web_site: Site) -> None:
    config = web_site('accessions = "list.txt"\nmodalities = ["CR"]')
    (config.parent / "list.txt").write_text("A-1\nA-9\n")
    answer("site", "pull", "--config", config, "--dry-run")
    for _ in range(2):
        answer("site", "pull", "--config", config)
    refused("--config", web_site(ALL, url="https://127.0.0.1:9/dicom-web"))
    said = answer("site", "pacs-log", "--config", config)
    assert [(one["pulled"], one["already_there"], one["end"]) for one in said["pulls"]] == [
        (3, 0, "whole"),
        (0, 3, "whole"),
        (0, 0, "link"),
    ]
    assert (said["pulls_cut"], said["stored"]) == ([], [])
    began = list(entries_said(config.parent, {BEGAN}))
    asked = {"modalities": ["CR"], "body_parts": [], "first_day": None, "last_day": None, "accessions": 2}
    assert (began[0].data["query"], began[0].data["query_digest"]) == (asked, said["pulls"][1]["query_digest"])
    assert began[2].data["query_digest"] != began[0].data["query_digest"]
    waiting = (config.parent / FILE_NAME).read_text()
    assert not any(word in waiting for word in ("A-1", "A-9", ROOT))
    join(config.parent)
    refused("--config", config)
    noted = [entry for entry in read_entries(config.parent / "ledger.jsonl") if entry.type in (BEGAN, ENDED)]
    assert [list(unknown_in(entry)) for entry in noted] == [[]] * 8
    assert len(answer("site", "pacs-log", "--config", config)["pulls"]) == 4


def test_outside_the_hours_nothing_comes(web_site: Site) -> None:
    day = (datetime.now() + timedelta(days=3)).strftime("%a").lower()
    code, said = refused("--config", web_site(ALL, f'[policy]\nhours = ["{day} 00:00-24:00"]'))
    assert (code, said["data"]["found"]["exams"], said["data"]["pulled"]) == (5, 0, 0)


def test_a_disk_that_has_to_keep_room_ends_the_pull(web_site: Site) -> None:
    code, said = refused("--config", web_site(ALL, pacs="free_gb = 1000000"))
    assert (code, said["error"]["code"], said["data"]["pulled"]) == (8, "disk_full", 0)


def test_a_site_with_a_folder_of_its_own_has_nothing_to_pull(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[site]\nname = "a"\n[data]\nkind = "dicom"\nfolder = "f"\nlabels = "l"\n')
    code, said = refused("--config", tmp_path / "site.toml")
    assert (code, "names no PACS" in said["error"]["what"]) == (3, True)
