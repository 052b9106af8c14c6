"""What the coordinator signed is kept as it was; nothing that it asks for later takes its place."""

from pathlib import Path

from lone_site import LoneSite, a_study

from client.intake import open_message
from client.opening_evidence import FOLDER, keep_opening, kept_openings
from shared.durable import never_waiting
from shared.openings import read_opening_line


def kept(site: Path) -> set[bytes]:
    return {bytes.fromhex(read_opening_line(line).envelope) for line in kept_openings(site)}


def test_none_goes_for_another_and_of_those_that_ask_for_the_same_the_newest_is_kept(tmp_path: Path) -> None:
    with never_waiting():
        for number in range(1200):
            keep_opening(
                tmp_path, b"%d" % number, study_digest=f"{number // 2:064x}", cohort=f"{number % 2:064x}", by="aa bb"
            )
    keep_opening(tmp_path, b"again", study_digest="0" * 64, cohort="0" * 64, by="aa bb")
    keep_opening(tmp_path, b"with nobody", study_digest="0" * 64, cohort=None, by="aa bb")
    assert kept(tmp_path) == {b"again", b"with nobody", *(b"%d" % number for number in range(1, 1200))}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / FOLDER).iterdir())


def test_a_study_that_is_opened_again_and_again_pushes_out_no_other_request(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    for attempt, cohort in ((1, ("north",)), (1, ("north", "west")), (2, ("north", "west")), (3, ("north", "west"))):
        site.tell(site.coordinator.open(attempt=attempt).model_copy(update={"cohort": cohort}))
        site.finish()
    asked = [open_message(envelope, site="north", coordinator=site.site.coordinator) for envelope in kept(site.folder)]
    assert {(one.address.attempt, one.cohort) for one in asked} == {(1, ("north",)), (3, ("north", "west"))}
    site.close()
