"""`wardround site`: what hospital IT types. Join, start, look, and see what left."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import psutil
import typer
from rich.console import Group
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.cli.account import data
from client.cli.approve import approve, deny
from client.cli.backup import backup, restore
from client.cli.budget import app as budget
from client.cli.check import check
from client.cli.image_list import image_list
from client.cli.leave import leave
from client.cli.pacs_log import pacs_log
from client.cli.passphrase import passphrase
from client.cli.pause import pause, resume
from client.cli.peers import app as peers
from client.cli.pull import pull
from client.cli.purge import purge
from client.cli.renew import renew
from client.cli.status_words import status_in_words
from client.cli.store import allow_store, store
from client.cli.support import support
from client.cli.withdraw import withdraw
from client.pausing import find_pause
from client.retention import standing, standing_in_words
from client.settings import folder_of, load_settings
from client.site_folder import joined_folder
from client.waiting_entries import damaged_lines
from shared.console import Answer, answering, facts, printable, table
from shared.errors import NOT_YET, ConfigError, ResourceError
from shared.parent import end_if_asked

if TYPE_CHECKING:
    from client.approvals import Approvals

ImageKind = Annotated[
    Literal["dicom", "nifti", "pictures", "npz"] | None,
    typer.Option(help="What the images are, if they are not what they look like."),
]
_LEFT = ("release", "release_repeated")  # kinds of entries about what left

app = typer.Typer(no_args_is_help=True, help="Hospital: join, start, and see what left.")
app.add_typer(budget, name="budget")
app.add_typer(peers, name="peers")
app.command()(approve)
app.command()(deny)
app.command()(pause)
app.command()(resume)
app.command()(leave)
app.command()(purge)
app.command()(support)
app.command()(withdraw)
app.command()(check)
app.command()(data)
app.command()(pull)
app.command("pacs-log")(pacs_log)
app.command("allow-store")(allow_store)
app.command()(store)
app.command("image-list")(image_list)
app.command()(renew)
app.command()(passphrase)
app.command()(backup)
app.command()(restore)


@app.command()
@answering("site.join")
def join(
    invitation: Annotated[Path, typer.Argument(help="The invitation that the coordinator sent.")],
    folder: Annotated[Path, typer.Argument(help="The site's new folder.")],
    *,
    kind: ImageKind = None,
    data: Annotated[Path | None, typer.Option(help="Folder of images, or the .npz file.")] = None,
    pacs: Annotated[str | None, typer.Option(help="In place of --data: https://HOST/PATH, or AE@HOST:PORT.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="What to pull of the PACS, such as CR; repeat it.")] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV table of labels (not for npz).")] = None,
) -> Answer:
    """Make the site's keys here and write the join request to send back."""
    from client.cli.data_options import DataOptions
    from client.join import join as answer_invitation
    from client.join import load_enrolment
    from client.settings import FILE_NAME, AboutSite, SiteSettings, write_settings
    from shared.keys import fingerprint, identity_hex, transport_pem

    described = DataOptions(kind, data, labels, pacs, modality or ()).settings()
    request = answer_invitation(invitation, folder, now=int(time.time()))
    enrolment = load_enrolment(folder)
    site, theirs = enrolment.invitation.site, enrolment.invitation.coordinator_fingerprint()
    config = folder / FILE_NAME
    written = write_settings(config, SiteSettings(site=AboutSite(name=site), data=described))
    ours = fingerprint(
        transport_pem(enrolment.transport_key.public_key()), identity_hex(enrolment.identity_key.public_key())
    )
    shown = {
        "site": site,
        "request": request,
        "your fingerprint": ours,
        "coordinator's": theirs,
        **({"images": f"read as {described.kind}{'' if kind or pacs else ', as they look'}"} if written else {}),
        "configuration": f"{config}{'' if written else ' (kept as it was)'}",
    }
    kept = (
        f"\n{config} was there and is kept: this command's options about data are not in it. Edit it if they should be."
    )
    return Answer(
        {
            "site": site,
            "request": str(request),
            "fingerprint": ours,
            "coordinator_fingerprint": theirs,
            "config": str(config),
            "config_written": written,
        },
        Group(facts(shown), *([] if written else [Text(kept)]), *_next_steps(config, pulls=pacs is not None)),
    )


def _next_steps(config: Path, *, pulls: bool) -> Iterator[Text]:
    yield Text("\nSend the request to the coordinator, and call by a number that you know:")
    yield Text("compare both fingerprints. If one differs, do not start.")
    for command in ("pull", "data") if pulls else ("data",):
        yield Text(f"Meanwhile: {about_site(config, command)}")
    yield Text(f"Then: {about_site(config, 'check')}")
    yield Text(f"And: {about_site(config, 'start')}")


@app.command()
@answering("site.start")
def start(config: Config = DEFAULT_CONFIG) -> Answer:
    """Serve the federation until stopped; Ctrl-C or SIGTERM finish the step in hand, a second one does not.

    SIGHUP has site.toml read anew, once the step in hand is finished.
    """
    end_if_asked()
    from client.running import serve
    from shared.clock import utc_now

    os.umask(0o077)
    folder = joined_folder(config)
    name = serve(folder, console=lambda line: print(f"{utc_now()} {printable(line)}", file=sys.stderr, flush=True))
    return Answer({"site": name}, f"Site {name} has stopped; finished work is in the spool.")


@app.command()
@answering("site.status")
def status(config: Config = DEFAULT_CONFIG) -> Answer:
    """Show what the site is doing."""
    folder = folder_of(config)
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_bytes())
        ended = found["state"] == "stopped" or not psutil.pid_exists(int(found["pid"]))
    except (OSError, ValueError, LookupError, TypeError):
        raise ResourceError(
            "This site has not been started yet, or its status file is damaged.",
            remedy=f"Start it with `{about_site(config, 'start')}`.",
        ) from None
    if ended and found["state"] != "stopped":
        found |= {"state": "dead", "trouble": "The agent ended without saying so; start it again."}
    found["damaged_lines"] = damaged_lines(folder)
    held = find_pause(folder)
    found["paused"] = held.model_dump() if held else None
    shown = status_in_words(found)
    waits = [asked.model_dump(include={"study", "since", "contract"}) for asked in _approvals(folder).waiting()]
    lines = (
        f"{one['study']} waits for approval since {one['since'][:19]}Z:\n{about_site(config, 'approve', one['study'])}"
        for one in waits
    )
    until = _admitted_until(folder)
    if until:
        shown["admitted until"] = until
    said = found | {"awaits_approval": waits, "admitted_until": until, "disk": None}
    try:
        said["disk"] = disk = standing(folder, load_settings(config).disk)
        shown |= standing_in_words(disk)
    except ConfigError:  # the agent goes on by the one that it has read
        shown["site.toml"] = f"cannot be used; `{about_site(config, 'check')}` says why"
    return Answer(said, Group(facts(shown), *map(Text, lines)))


def _approvals(folder: Path) -> "Approvals":
    from client.join import load_enrolment
    from client.site import approvals_of

    return approvals_of(folder, load_enrolment(folder))


def _admitted_until(folder: Path) -> str | None:
    from client.admission import last_day
    from client.join import load_enrolment
    from shared.certificates import ends_at, warned_at

    if (admission := load_enrolment(folder).admission) is None:
        return None
    days = warned_at(ends_at(admission.certificate.encode()) - time.time())
    return last_day(admission) + (f" (within {days} days: ask the coordinator to renew it)" if days else "")


@app.command()
@answering("site.sent")
def sent(
    config: Config = DEFAULT_CONFIG,
    study: Annotated[str | None, typer.Option(help="Only this study.")] = None,
) -> Answer:
    """List what left this site: when, study, round, kind, bytes, digest."""
    from shared.ledger import read_entries

    path = folder_of(config) / "ledger.jsonl"
    if not path.is_file():
        raise ConfigError("There is no ledger beside this configuration.", remedy="Name the site's own site.toml.")
    entries = [e for e in read_entries(path) if e.type in _LEFT and study in (None, e.data["study"])]
    rows = [{"time": e.time, **e.data} for e in entries]
    total, count = sum(row["bytes"] for row in rows), sum(row.get("count", 1) for row in rows)
    shown = table(
        ("when", "study", "round", "kind", "bytes", "digest"),
        (
            (
                row["time"][:19],
                row["study"],
                row["round"],
                _kind(row),
                f"{row['bytes']:,}",
                (row.get("update_digest") or row.get("body_digest") or "")[:12],
            )
            for row in rows
        ),
    )
    releases = f"{count:,} {'release' if count == 1 else 'releases'}, {total:,} bytes"
    return Answer({"releases": rows, "count": count, "bytes": total}, Group(shown, Text(releases)))


def _kind(row: dict[str, Any]) -> str:
    """What left, in words; answers that said "not yet" again stand in one row, with their number."""
    what = "update" if row.get("update_digest") else str(row.get("kind", "refused"))
    if row.get("refusal") in NOT_YET:
        what = f"not yet: {str(row['refusal']).replace('_', ' ')}"
    return f"{row['count']} times {what}" if "count" in row else what


@app.command()
@answering("site.ledger")
def ledger(
    config: Config = DEFAULT_CONFIG,
    to: Annotated[Path | None, typer.Option("--to", help="A folder for the files that an auditor needs.")] = None,
) -> Answer:
    """Verify the ledger; with --to, write it, the site's public keys and its receipts for an auditor."""
    from client.evidence import export_ledger, look_at_ledger

    folder = joined_folder(config)
    found = look_at_ledger(folder) if to is None else export_ledger(folder, to)
    card, verdict = found.card, found.verdict
    said = {
        "site": card.site,
        "fingerprint": card.fingerprint(),
        "coordinator_fingerprint": card.coordinator_fingerprint(),
        "entries": verdict.entries,
        "signed_entries": verdict.signed_entries,
        "head": verdict.head,
        "torn_bytes": found.torn_bytes,
        "files": [str(file) for file in found.files],
    }
    shown = {
        "site": card.site,
        "fingerprint": said["fingerprint"],
        "coordinator's": said["coordinator_fingerprint"],
        "ledger": f"holds: {verdict.entries} entries, signed to entry {verdict.signed_entries}",
        "last entry": verdict.head,
    }
    if found.torn_bytes:
        shown["behind it"] = (
            f"{found.torn_bytes:,} bytes that are no whole entry: being written, or torn off by a crash"
        )
    return Answer(said, Group(facts(shown), Text(_handed_over(found.files))))


def _handed_over(files: Sequence[Path]) -> str:
    """What to do with an export, or how to make one."""
    if not files:
        return "\nFor an auditor: give this command again with --to FOLDER"
    written = "\n".join(f"  {file}" for file in files)
    return f"\nFor the auditor, who compares the fingerprints with the signed agreement:\n{written}"
