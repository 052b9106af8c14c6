"""The `wardround demo` command: cast, federation, study, comparison, table."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, Group
from rich.text import Text

from deploy.demo.cast import LABELS_STUDY, MASKS_STUDY, Cast, npz_cast, own_cast, phantom_cast
from deploy.demo.follow import follow
from deploy.local import LocalFederation, wardround_command
from server.backbones import BACKBONE
from server.launch import START_MODEL
from server.study_folder import StudyFolder, find_study
from shared.canonical import digest
from shared.console import Answer, answering, progress_console, table
from shared.errors import ConfigError, ResourceError
from shared.metrics import MERITS
from shared.parent import PARENT_VARIABLE

app = typer.Typer(help="Run a whole federation here: four hospitals, one study.")

DEFAULT_FOLDER = Path("wardround-demo")
_MARK = ".wardround-demo"
_BESIDE = {
    "auroc": "Balanced accuracy at the threshold chosen on validation patients, or of the likeliest class.",
    "dice": "Dice is a mean over patients, HD95 in diagonals of an image, F1 at IoU 0.5.",
    "ssim": "SSIM is that of an image and its reconstruction, a mean over patients.",
}
_STUDY_PATIENCE_S = 3600.0
_ROUNDS = 10


@app.command()
@answering("demo")
def demo(
    *,
    npz: Annotated[Path | None, typer.Option(help="Measure on this .npz instead of the phantom hospitals.")] = None,
    partition: Annotated[str, typer.Option(help="iid, dirichlet:ALPHA or natural (with --npz).")] = "iid",
    task: Annotated[
        Literal["classification", "segmentation"], typer.Option(help="What to learn (with --npz): labels or masks.")
    ] = "classification",
    sites: Annotated[
        int | None, typer.Option(min=1, max=64, help="Number of sites (with --npz): 4, or as many as are natural.")
    ] = None,
    study: Annotated[Path | None, typer.Option(help="A study file (with --npz) in place of the usual study.")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="A CSV of what is known of each image (with --study), such as age and sex.")
    ] = None,
    backbone: Annotated[Path | None, typer.Option(help="The trained backbone that --study pins.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Rounds of the study; 10, or as its file says.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of pictures, partition and study.")] = 0,
    keep: Annotated[Path, typer.Option(help="Folder for everything; an earlier demo there is replaced.")] = (
        DEFAULT_FOLDER
    ),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> Answer:
    """Run a whole federation on this machine and compare alone, federated and pooled."""
    console = progress_console()
    started = time.monotonic()
    _check_options(npz=npz, study=study, beside=beside, backbone=backbone, rounds=rounds)
    root = fresh_folder(keep)
    console.print("Drawing four hospitals ..." if npz is None else f"Dividing {npz.name} over its sites ...")
    images, count = root / "images", rounds or _ROUNDS
    if npz is None:
        cast = phantom_cast(images, rounds=count, seed=seed)
    elif study is not None:
        cast = own_cast(images, npz, study=study, scheme=partition, sites=sites, seed=seed, beside=beside)
    else:
        asked = MASKS_STUDY if task == "segmentation" else LABELS_STUDY
        cast = npz_cast(images, npz, study=asked, scheme=partition, sites=sites, rounds=count, seed=seed)
    (root / "study.toml").write_text(cast.study_text, encoding="utf-8")
    data = run_study(root, cast, console=console, device=device, backbone=backbone)
    console.print("Training each site alone and all pooled, for comparison ...")
    data |= compare(root, cast, data, say=lambda doing: console.print(f"  {doing} ..."))
    data["wall_s"] = round(time.monotonic() - started, 1)
    return Answer(data, show(data))


def _check_options(
    *, npz: Path | None, study: Path | None, beside: Path | None, backbone: Path | None, rounds: int | None
) -> None:
    if study is not None and npz is None:
        raise ConfigError("--study goes with --npz.", remedy="Name the images that the study is to be measured on.")
    if beside is not None and study is None:
        raise ConfigError("--beside goes with --study.", remedy="Name the study that asks for its columns.")
    if backbone is not None and study is None:
        raise ConfigError("--backbone goes with --study.", remedy="Name the study that pins it by [backbone].")
    if study is not None and rounds is not None:
        raise ConfigError("--rounds does not go with --study.", remedy="The study file says it: rounds.count.")


def run_study(root: Path, cast: Cast, *, console: Console, device: str, backbone: Path | None = None) -> dict[str, Any]:
    """Provision, serve, start the sites, launch the study, follow it to its end, stop everything."""
    with LocalFederation(root, cast.data, threads=1, device=device, seed=cast.study.study.seed) as local:
        console.print("Starting the server and the sites, each as a process of its own ...")
        local.serve()
        words = ["study", "launch", str(root / "study.toml"), "--federation", str(local.federation)]
        words += ["--backbone", str(backbone)] if backbone else []
        launched = subprocess.run([wardround_command(), *words], capture_output=True, text=True, check=False)
        if launched.returncode:
            raise ResourceError("The study could not be launched.", remedy=launched.stderr.strip()[-300:])
        for site in local.sites:
            local.start_site(site)
        folder = find_study(local.federation, cast.study.name)
        follow(folder, console=console, patience_s=_STUDY_PATIENCE_S, check=_checked(local))
        tls = speaks_tls_only("127.0.0.1", local.port, ca=local.federation / "ca" / "certificate.pem")
        pids = local.tree()
    from server.report import write_report

    report = write_report(folder)
    return facts_of(local, folder) | {"transport": {"tls": tls}, "pids": pids, "report": str(report)}


def facts_of(local: LocalFederation, folder: StudyFolder) -> dict[str, Any]:
    """Where everything lies and what travelled, from the sites' own counters."""
    status = {site: json.loads((path / "status.json").read_bytes()) for site, path in local.sites.items()}
    return {
        "study": folder.name,
        "sites": len(local.sites),
        "rounds": folder.study().rounds.count,
        "bytes_up": sum(s["bytes_up"] for s in status.values()),
        "bytes_down": sum(s["bytes_down"] for s in status.values()),
        "model": str(folder.path / "model.safetensors"),
        "journal": str(folder.path / "journal.jsonl"),
        "ledgers": {site: str(path / "ledger.jsonl") for site, path in local.sites.items()},
        "site_folders": {site: str(path) for site, path in local.sites.items()},
        "study_folder": str(folder.path),
    }


def compare(root: Path, cast: Cast, data: dict[str, Any], *, say: Callable[[str], None]) -> dict[str, Any]:
    """Train and score the models that the federated one is compared with, in their own process; `say` hears which."""
    job = {
        "study": cast.study.model_dump(mode="json"),
        "sites": data["site_folders"],
        "start": str(Path(data["study_folder"]) / START_MODEL),
        "final": data["model"],
        "backbone": str(Path(data["study_folder"]) / BACKBONE) if cast.study.backbone else None,
        "threads": 0,
    }
    (root / "logs" / "compare.json").write_text(json.dumps(job), encoding="utf-8")
    found: dict[str, Any] = {}
    with (
        (root / "logs" / "compare.json").open("rb") as asked,
        (root / "logs" / "compare.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "deploy.demo.compare"],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
        ) as process,
    ):
        for line in process.stdout or ():
            found = json.loads(line)
            if "doing" in found:
                say(str(found["doing"]))
    if process.returncode:
        raise ResourceError("The comparison could not be trained.", remedy="Read logs/compare.log in the demo folder.")
    found["federated"]["weights_sha256"] = digest(Path(data["model"]).read_bytes())
    return found


def speaks_tls_only(host: str, port: int, *, ca: Path) -> bool:
    """Whether the port completes a TLS handshake under our CA, and does not answer plain text."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), timeout=5) as line, context.wrap_socket(line, server_hostname=host):
        pass
    with socket.create_connection((host, port), timeout=5) as line:
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        line.settimeout(5)
        try:
            answer = line.recv(64)
        except (TimeoutError, ConnectionError):
            return True
    return not answer.startswith(b"\x00\x00")  # an HTTP/2 SETTINGS frame would start so


def show(data: dict[str, Any]) -> Group:
    """The comparison as a table for 80 columns, and where everything lies."""
    rows = [(f"{row['site']} alone", *_cells(row)) for row in data["local"]]
    rows += [("federated", *_cells(data["federated"])), ("pooled", *_cells(data["pooled"]))]
    gap = data["pooled_minus_federated"]
    merit = _merit(gap)
    lines = [
        f"\nAll on the same {data['test_patients']} test patients of {data['sites']} sites.",
        f"Pooled minus federated: {gap[merit]:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f}), paired.",
        f"{data['bytes_up']:,} bytes left the sites, {data['bytes_down']:,} came in; {data['wall_s']} s in all.",
        f"{_BESIDE[merit]}\n",
        f"report   {_near(data['report'])}",
        f"model    {_near(data['model'])}",
        f"ledgers  {_near(next(iter(data['ledgers'].values())))} ...",
    ]
    name = "macro AUROC" if "macro_auroc" in gap else {"auroc": "AUROC", "dice": "Dice", "ssim": "SSIM"}[merit]
    beside = {"auroc": "balanced acc.", "dice": "HD95", "ssim": "loss"}[merit]
    counted = ("F1", "95 % interval") if "f1" in data["pooled"] else ()
    return Group(table(("model", name, "95 % interval", beside, *counted), rows), Text("\n".join(lines)))


def _near(path: str) -> str:
    """A path as seen from here, which fits on a line."""
    return min(path, os.path.relpath(path), key=len)


def fresh_folder(folder: Path) -> Path:
    """An empty folder for a demo; an earlier demo's is replaced, anything else is left alone.

    Raises:
        ConfigError: the folder holds something that is no demo.
    """
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise ConfigError(f"{folder} is not empty and no demo.", remedy="Name another folder with --keep.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    return folder


def _checked(local: LocalFederation) -> Callable[[], None]:
    return lambda: local.wait_for(lambda: True, patience_s=1.0, what="run")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    beside = [row[key] for key in ("balanced_accuracy", "hd95", "loss") if key in row]
    shown = ["" if number is None else f"{number:.3f}" for number in beside]
    counted = _estimate(row["f1"], row["f1_low"], row["f1_high"]) if "f1" in row else ()
    if (value := row[_merit(row)]) is None:
        return ("undefined", "one class only", *[""] * len(shown), *counted)
    return (*_estimate(value, row["low"], row["high"]), *shown, *counted)


def _estimate(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    return ("", "") if value is None else (f"{value:.3f}", f"{low:.3f} to {high:.3f}")


def _merit(row: dict[str, Any]) -> str:
    return next(merit for merit in MERITS if merit in row)
