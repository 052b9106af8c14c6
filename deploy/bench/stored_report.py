"""What a trained model says of pulled exams, back in the PACS, as a site does it, and what another reader finds in it.

Gives the commands that people give: the coordinator exports, the site predicts, signs and stores one report. Counts
the reports that the PACS holds then, read back by DICOMweb, and the errors that dciodvfy finds in their bytes.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from client.pacs.settings import PULLED
from deploy.bench.orthanc import Orthanc
from deploy.local import wardround_command
from server.study_folder import StudyFolder
from shared.errors import ConfigError, ResourceError, StudyError

_PATIENCE_S = 60.0
_KIND = "EnhancedSR"  # as dciodvfy calls what we write


@dataclass(frozen=True)
class Judged:
    """The reports that lie in the PACS, and the lines with which dciodvfy calls something in them an error."""

    reports: int
    errors: int


def judge() -> str:
    """Where dciodvfy is.

    Raises:
        ConfigError: it is not installed.
    """
    found = shutil.which("dciodvfy")
    if found is None:
        raise ConfigError("dciodvfy, which judges what was stored, is not here.", remedy="apt-get install dicom3tools")
    return found


def stored_report(folder: StudyFolder, site: Path, pacs: Orthanc, *, checker: str, scratch: Path) -> Judged:
    """Answer what a site pulled and store one report in the PACS, where nobody has stored any before.

    Args:
        folder: the finished study.
        site: the folder of a site that pulled by DICOMweb; its agent is stopped.
        pacs: runs.
        checker: where dciodvfy is.
        scratch: gets the package, the answers and what was read back.

    Raises:
        StudyError: a command failed, or no exam has a report.
        ResourceError: dciodvfy does not know what it reads.
    """
    package, answers, config = scratch / "package", scratch / "answers", ("--config", site / "site.toml")
    _said("study", "export", folder.name, "--federation", folder.path.parent.parent, "--out", package)
    images = ("--input", site / PULLED, "--kind", "dicom", "--device", "cpu")
    told = _said("predict", "--model", package, *images, "--out", answers, "--dicom-sr", *config)
    _said("site", "allow-store", told["model"], "--until", date.today() + timedelta(days=1), "--by", "bench", *config)
    _said("site", "store", _one_of(answers, scratch / "stored"), *config)
    held = pacs.held("SR")
    return Judged(len(held), sum(_errors(file, checker, scratch / "held.dcm") for file in held))


def _one_of(answers: Path, to: Path) -> Path:
    """One answer and its report in a folder of their own."""
    report = min(answers.rglob("*.dcm"), default=None)
    if report is None:
        raise StudyError("No exam that was pulled has a report.", remedy="Read `predict --dicom-sr` in a kept folder.")
    to.mkdir(mode=0o700)
    for file in (report, report.with_suffix(".json")):
        shutil.copy(file, to)
    return to


def _errors(file: bytes, checker: str, place: Path) -> int:
    place.write_bytes(file)
    done = subprocess.run([checker, str(place)], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    if _KIND not in lines:
        raise ResourceError("dciodvfy does not see a report in what was stored.", remedy="Run it on what --keep keeps.")
    return sum(line.startswith("Error") for line in lines)


def _said(*words: object) -> dict[str, Any]:
    """The answer of a `wardround` command."""
    command: Sequence[str] = [wardround_command(), *map(str, words), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = json.loads(done.stdout) if done.stdout else {}
    if done.returncode:
        why = said.get("error") or {"what": f"It ended with {done.returncode}.", "remedy": "Give it in a kept folder."}
        raise StudyError(f"`wardround {words[0]} {words[1]}` failed: {why['what']}", remedy=why["remedy"])
    return dict(said["data"])
