"""The server's disk is full for longer than a restart takes: the study waits, and goes on when there is room."""

from pathlib import Path

import pytest

from deploy.bench.fault_bed import fault_bed
from deploy.bench.fault_plan import Card, Fault, Place, Strike
from deploy.bench.fault_run import TRAIN, run_calm, run_struck
from deploy.bench.moments import Point, Reached
from deploy.bench.pictures import draw_sites
from deploy.bench.small_disk import why_not


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_waits_for_room_and_goes_on_by_itself(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    data, full = draw_sites(tmp_path / "images", TRAIN, seed=1), Card(Fault.DISK, Place.SERVER_DISK)
    strike = Strike(run=1, card=full, site="north", at=Reached(2, Point.TRAIN), share=0.0, hold_s=15.0)
    with fault_bed(tmp_path / "bed", data, seed=1, disks=True, skewed=set()) as bed:
        bed.begin()
        calm = run_calm(bed, seed=1)
        found = run_struck(bed, strike, calm, seed=1)
    assert (found["finished"], found["all_counted"], found["identical"]) == (True, True, True), found
    assert (found["lost"], found["double_counted"], found["ledgers_verify"]) == (0, 0, True)
    assert "waits: the server's disk is full" in (tmp_path / "bed" / "logs" / "server.log").read_text()
