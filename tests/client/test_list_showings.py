"""Who showed an auditor a list is said in the ledger, by whoever may write there."""

from pathlib import Path

from lone_site import LoneSite, a_study

from client.list_showings import ENTRY, FILE_NAME, Showing, keep_showing, note_showings
from client.starting import note_start

SHOWN = Showing(study="lungs", study_digest="a" * 64, file_digest="b" * 64, by="ada", shown="2026-01-02T03:04:05Z")


def test_a_running_agent_notes_it_before_its_next_work(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    keep_showing(site.folder, SHOWN)
    keep_showing(site.folder, SHOWN.model_copy(update={"by": "jo"}))
    assert site.entries(ENTRY) == []
    site.open()
    assert [said["by"] for said in site.entries(ENTRY)] == ["ada", "jo"]
    assert not (site.folder / FILE_NAME).exists()
    keep_showing(site.folder, SHOWN)
    note_start(site.site)
    assert [said["by"] for said in site.entries(ENTRY)] == ["ada", "jo", "ada"]
    site.close()


def test_a_damaged_file_stops_no_study(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    (site.folder / FILE_NAME).write_text("{")
    assert note_showings(site.folder, site.site.ledger, time=site.site.now()) == []
    assert (site.folder / FILE_NAME).exists()
    site.close()
