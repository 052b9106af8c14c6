"""`wardround bench pacs`: sites that pull from a real PACS, whose line is cut, who are killed, and who train.

One Orthanc holds the phantom exams of one hospital. Three sites pull all of them, one by DICOMweb, one by C-GET, one
by C-MOVE, each over a line that is cut once and with a pull that is killed once; the same command then goes on. At
last they train one round on what they pulled, and one site stores a report of the model in that PACS. Nothing may be
missing, come twice, or stay behind, and another reader finds no error in the report.
"""

import contextlib
import csv
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.settings import DataSettings
from client.pacs.settings import PULLED, DimseSettings, PacsSettings, QuerySettings, WebSettings
from deploy.bench.bed import begin, finish, listening, queue, remains, workplace
from deploy.bench.orthanc import OURS, TITLE, Orthanc
from deploy.bench.relay import Line, Relay
from deploy.bench.stored_report import judge, stored_report
from deploy.local import LocalFederation, wardround_command
from deploy.phantom import HOSPITALS, draw_hospital
from server.journal import read_records
from server.records import RoundCommitted
from shared.console import progress_console, table
from shared.errors import ResourceError

WAYS = ("web", "get", "move")
_PER_S = 10.0  # instances, so that a pull has a middle
_PATIENCE_S = 180.0
_TURN_S = 0.02
_STUDY = """\
[study]
name = "pulled"
seed = {seed}

[task]
classes = ["opacity"]

[images]
size_px = 28

[training]
batch_size = 8
steps_per_round = 2

[rounds]
count = 1
quorum = {sites}
deadline_s = 240
"""


def run(*, patients: int = 24, seed: int = 0, keep: Path | None = None) -> dict[str, Any]:
    """Store, pull each way, train, and store a report.

    Args:
        patients: of the phantom hospital.
        seed: of the pictures and the study.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ConfigError: dciodvfy is not installed.
        ResourceError: Orthanc is not installed, or a pull does not get on.
        StudyError: the round was not trained, or no report stored.
    """
    checker = judge()
    with workplace(keep) as root:
        with Orthanc(root / "pacs") as pacs, contextlib.ExitStack() as lines:
            stored = pacs.store(_drawn(root / "hospital", patients=patients, seed=seed))
            relays = {way: lines.enter_context(Relay(_port(pacs, way))) for way in WAYS}
            data = {way: _data(root / "hospital", pacs, way, relays[way].port) for way in WAYS}
            federation = LocalFederation(root, data, device="cpu", seed=seed)
            ways = {way: _pulled(federation.sites[way], relays[way], way, stored) for way in WAYS}
            with federation:
                begin(federation)
                finish(federation, folder := queue(federation, _STUDY.format(seed=seed, sites=len(WAYS))))
                ports = listening(federation)
            committed = sum(isinstance(record, RoundCommitted) for _, record in read_records(folder.journal))
            judged = stored_report(folder, federation.sites["web"], pacs, checker=checker, scratch=root)
        left = remains(federation, ports)
    return {
        "stored": stored,
        "pulled": min(way["pulled"] for way in ways.values()),
        "resumed_after_cut": all(way["resumed"] for way in ways.values()),
        "rounds_trained": committed,
        "sr_stored": judged.reports,
        "dciodvfy_errors": judged.errors,
        "left_processes": left.processes,
        "left_ports": left.ports,
        "ways": ways,
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for name, way in data["ways"].items():
        if way["pulled"] != data["stored"] or way["failed"]:
            yield f"By {name} {way['pulled']} of {data['stored']} instances came."
        if not way["resumed"]:
            yield f"By {name} the pull did not go on where it was."
    if data["rounds_trained"] != 1:
        yield "No round was trained on what was pulled."
    if data["sr_stored"] != 1:
        yield f"The PACS holds {data['sr_stored']} reports; one was stored."
    if data["dciodvfy_errors"]:
        yield f"dciodvfy finds {data['dciodvfy_errors']} errors in the report that was stored."
    if data["left_processes"] or data["left_ports"]:
        yield f"{data['left_processes']} processes and {data['left_ports']} ports stayed behind."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per way."""
    rows = (
        (name, way["before_kill"], way["came_after"], way["pulled"], way["again_per_s"])
        for name, way in data["ways"].items()
    )
    said = f"\n{data['stored']} instances stored, {data['rounds_trained']} round trained on what was pulled"
    said += f"\n{data['sr_stored']} report stored, {data['dciodvfy_errors']} errors in it by dciodvfy"
    return Group(table(("by", "before the kill", "after it", "in all", "instances/s"), rows), Text(said))


def _drawn(folder: Path, *, patients: int, seed: int) -> list[bytes]:
    """The files of a phantom hospital, and its labels by accession number: a pulled file has another name."""
    draw_hospital(HOSPITALS[0], folder, seed=seed, patients=patients)
    with (folder / "labels.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "file"} for row in csv.DictReader(file)]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return [path.read_bytes() for path in sorted((folder / "images").iterdir())]


def _port(pacs: Orthanc, way: str) -> int:
    return pacs.web_port if way == "web" else pacs.dicom_port


def _data(hospital: Path, pacs: Orthanc, way: str, port: int) -> DataSettings:
    """What a site says that pulls so, over the line at this port."""
    web = dimse = None
    if way == "web":
        web = WebSettings(url=f"http://127.0.0.1:{port}/dicom-web", login_file=pacs.login_file)
    else:
        goal = {"storage_host": "127.0.0.1", "storage_port": pacs.storage_port} if way == "move" else {}
        words = {"host": "127.0.0.1", "port": port, "called": TITLE, "calling": OURS, "retrieve": way}
        dimse = DimseSettings.model_validate(words | goal)
    query = QuerySettings(modalities=(HOSPITALS[0].modality,))
    asked = PacsSettings(web=web, dimse=dimse, query=query, lanes=2, instances_per_s=_PER_S, free_gb=0.0)
    return DataSettings(kind="dicom", labels=hospital / "labels.csv", pacs=asked)


def _pulled(site: Path, relay: Relay, way: str, stored: int) -> dict[str, Any]:
    """Pull; cut the line after a quarter, kill the pull after the half, and give the same command again."""
    progress_console().print(f"Pulling {stored} instances by {way} ...")
    command = [wardround_command(), "site", "pull", "--json", "--config", str(site / "site.toml")]
    first = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        at_cut = _reached(site, first, stored // 4)
        relay.become(Line.CUT)
        relay.become(Line.WHOLE)
        _reached(site, first, stored // 2)
    finally:
        first.kill()
        first.wait()
    before, started = _here(site), time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = json.loads(done.stdout)["data"]
    again_s = time.monotonic() - started
    return {
        "before_cut": at_cut,
        "before_kill": before,
        "came_after": said["pulled"],
        "pulled": _here(site),
        "failed": sum(said["failed"].values()),
        "resumed": 0 < at_cut < before < stored
        and (said["already_there"], said["pulled"]) == (before, stored - before),
        "again_per_s": round(said["pulled"] / again_s, 1),
    }


def _reached(site: Path, pull: subprocess.Popen[bytes], wanted: int) -> int:
    """Wait until so many instances are here; how many then are.

    Raises:
        ResourceError: the pull ended, or does not get on.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while (here := _here(site)) < wanted:
        if pull.poll() is not None or time.monotonic() > deadline:
            raise ResourceError(
                f"A pull ended or stopped at {here} of {wanted} instances.",
                remedy="Give `wardround site pull` in a kept folder to see why; see --keep.",
            )
        time.sleep(_TURN_S)
    return here


def _here(site: Path) -> int:
    return sum(1 for _ in (site / PULLED).glob("*/*.dcm"))
