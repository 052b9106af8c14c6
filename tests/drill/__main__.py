"""`bash tests/drill/run [--json]`: a federation on networks of its own, from the wheel to a finished study.

Needs root, network namespaces and nft (Debian: iproute2, nftables). Its own words go to standard error, its answer
to standard output; it ends with 0 if every aim was kept, with 1 if one was missed, and with 3 where it cannot run.
Whatever ends it but SIGKILL, nothing stays behind; processes end then, too, and their namespaces bear its name.
"""

import argparse
import dataclasses
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from drill.broken import Broken
from drill.machine import end, marked
from drill.network import RUN, namespaces, network, why_not
from drill.story import HOSPITALS, HOST, PORT, machines
from drill.undisturbed import ENDING, undisturbed
from drill.verdict import missed
from drill.wheel import Installed, install_wheel

from deploy.bench.machine import describe
from deploy.phantom import HOSPITALS as PHANTOMS
from deploy.phantom import draw_hospital
from shared.parent import PARENT_VARIABLE

PATIENTS = 60
SETTLE_S = 10.0
LAST_LINES = 12
LIMIT_S = 840


def main() -> int:
    """Run the drill and print what came of it; the exit code."""
    parser = argparse.ArgumentParser(prog="tests/drill/run", description=__doc__)
    parser.add_argument("--json", action="store_true", help="answer with one JSON object")
    as_json = parser.parse_args().json
    for number in ENDING:
        signal.signal(number, _leave)
    signal.alarm(LIMIT_S)
    if (reason := "only root may" if os.geteuid() else why_not()) is not None:
        print(f"No network can be made here: {reason}.", file=sys.stderr)
        return 3
    found = drill(f"wardround-{secrets.token_hex(4)}")
    faults = found.pop("broken", None) or list(missed(found, port=PORT))
    answer = {"ok": not faults, "missed": faults, **found}
    print(json.dumps(answer) if as_json else "\n".join(f"{key:24} {value}" for key, value in answer.items()))
    return 1 if faults else 0


def drill(name: str) -> dict[str, Any]:
    """Run it; what was found out, and in `broken` why it ended early, if it did."""
    found: dict[str, Any] = {"machine": describe()}
    place = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        installed = install_wheel(place)
        found["wheel"] = {"name": installed.wheel, "sha256": installed.sha256}
        _draw(place)
        with (
            network(name, HOSPITALS, host=HOST, port=PORT) as net,
            machines(net, installed, place, _environment(installed)) as story,
        ):
            try:
                story.tell()
            except BaseException:
                _show_logs(place)
                raise
            finally:
                found |= story.found
    except Broken as error:
        found["broken"] = [str(error)]
    finally:
        with undisturbed():
            end(name)  # a build that was broken off, else it goes on writing
            shutil.rmtree(place, ignore_errors=True)
    return found | {"left": left(name, place)}


def left(name: str, place: Path) -> dict[str, int]:
    """How many processes, namespaces and files of the drill are still there, once those that end have ended."""
    deadline = time.monotonic() + SETTLE_S
    while any(marked(name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = namespaces(name)
    return {
        "processes": len(list(marked(name))),
        "namespaces": sum(one.parent == RUN for one in found),
        "files": sum(one.parent != RUN for one in found) + place.exists(),
    }


def _draw(place: Path) -> None:
    """Each hospital's images and label table, as its IT has prepared them."""
    for site, phantom in zip(HOSPITALS, PHANTOMS, strict=False):
        home = place / site
        draw_hospital(dataclasses.replace(phantom, name=site), home / "images", seed=1, patients=PATIENTS)
        (home / "images/labels.csv").replace(home / "labels.csv")


def _environment(installed: Installed) -> dict[str, str]:
    """Of every command: a person's who has just logged in, but for the wheel's programs; it ends with the drill."""
    path = f"{installed.programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", "COLUMNS": "100", "NO_COLOR": "1", PARENT_VARIABLE: str(os.getpid())}


def _show_logs(place: Path) -> None:
    for log in sorted(place.glob("*/service.log")):
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        print(f"--- {log.parent.name}", *lines, sep="\n", file=sys.stderr)


def _leave(number: int, _: object) -> NoReturn:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)  # it is tidying up
    if number == signal.SIGALRM:
        raise Broken(f"The drill was not over after {LIMIT_S} s.")
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
