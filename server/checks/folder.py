"""What lies in the federation's folder: keys, certificates, roster, and the disk beneath them."""

import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path

from server.checks.grounds import Grounds
from shared.certificates import ends_at
from shared.command_line import typed
from shared.disks import encrypted, write_speed
from shared.preflight import Finding, fix, passed, warn
from shared.secret_files import look_at_secrets

GB, DAY_S = 1e9, 86_400
FREE_BYTES, WELL_FREE_BYTES = 1e9, 10e9
SLOW_BYTES_PER_S = 20e6
EXPIRING_DAYS = 30
EARLIEST_YEAR, YEARS = 2025, 30  # a machine without a battery wakes in 1970 or in the year of its firmware
_SECRETS = ("ca/key.pem", "server/key.pem", "coordinator.key", "salt", "invitations")


def look_at_federation(grounds: Grounds) -> Finding:
    """Is the folder a federation's, with a roster that its coordinator signed?"""
    made = grounds.federation
    return passed(f"Federation {made.settings.name}; {len(made.roster.entries)} sites on the roster.")


def look_at_keys(grounds: Grounds) -> Finding:
    """Are the keys closed to other accounts of this machine?"""
    if found := look_at_secrets(grounds.folder, _SECRETS, otherwise="found the federation anew"):
        return found
    return passed("The keys of authority, server and coordinator are this account's alone.")


def look_at_certificate(grounds: Grounds) -> Finding:
    """Do the server's certificate and key belong together, and how long do they and the authority hold?"""
    made, renew = grounds.federation, typed("federation", "renew", grounds.folder)
    try:
        context = ssl.create_default_context(cafile=made.ca_certificate)
        context.load_cert_chain(made.server_certificate, made.server_key)
        days = [_days_left(path, grounds) for path in (made.server_certificate, made.ca_certificate)]
    except (OSError, ValueError):
        return fix(
            "The server's certificate, its key or the authority's certificate cannot be read, or do not fit.",
            f"Restore the folders server/ and ca/ from your backup, or run `{renew}`.",
        )
    facts = {"server_days_left": days[0], "authority_days_left": days[1]}
    if min(days) < 0:
        return fix("A certificate has ended, so that every site refuses it.", f"Run `{renew}`.", **facts)
    what = f"The server's certificate holds for {days[0]} days, the authority for {days[1]}."
    if min(days) < EXPIRING_DAYS:
        authority = ("--authority",) if days[1] < EXPIRING_DAYS else ()
        return warn(what, f"Run `{typed('federation', 'renew', grounds.folder, *authority)}`.", **facts)
    return passed(what, **facts)


def look_at_roster(grounds: Grounds) -> Finding:
    """Is anybody on the roster, and for how long?"""
    entries, now = grounds.federation.roster.entries, grounds.clock()
    if not entries:
        return warn("No site is on the roster yet.", "Invite one: `wardround federation invite`.")
    over = [entry.site for entry in entries if entry.not_after <= now]
    if over:
        return fix(f"The time of {', '.join(over)} is over.", _renewing(over, grounds))
    ending = [entry.site for entry in entries if entry.not_after - now < EXPIRING_DAYS * DAY_S]
    if ending:
        return warn(f"The time of {', '.join(ending)} ends within {EXPIRING_DAYS} days.", _renewing(ending, grounds))
    return passed(f"{len(entries)} sites, all within their time.", sites=len(entries))


def look_at_clock(grounds: Grounds) -> Finding:
    """Can this be the time? All sites go by this machine's clock."""
    now = datetime.fromtimestamp(grounds.clock(), UTC)
    made = (grounds.folder / "roster.signed").stat().st_mtime
    remedy = "Set date and time, and keep them by NTP (chrony, systemd-timesyncd): signatures and certificates name it."
    if not EARLIEST_YEAR <= now.year < EARLIEST_YEAR + YEARS:
        return fix(f"This machine's clock says {now:%Y-%m-%d}.", remedy)
    if now.timestamp() < made - 60:
        return fix(f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC; the roster was written later.", remedy)
    return passed(f"{now:%Y-%m-%d %H:%M} UTC.")


def look_at_disk(grounds: Grounds) -> Finding:
    """Is there room for models and updates, and how fast is it written?"""
    free = shutil.disk_usage(grounds.folder).free
    if free < FREE_BYTES:
        remedy = "Make room, or move the federation's folder: without it studies wait, and nothing is lost."
        return fix(
            f"{free / GB:.2f} GB are free; {FREE_BYTES / GB:.0f} GB are needed at least.", remedy, free_bytes=free
        )
    speed = write_speed(grounds.folder)
    what = f"{free / GB:.0f} GB are free; {speed / 1e6:.0f} MB/s are written."
    facts = {"free_bytes": free, "write_bytes_per_s": round(speed)}
    if free < WELL_FREE_BYTES:
        return warn(what, "Make more room: each study keeps its models.", **facts)
    if speed < SLOW_BYTES_PER_S:
        return warn(what, "Put the federation's folder on a local disk: each round waits for it.", **facts)
    return passed(what, **facts)


def look_at_encryption(grounds: Grounds) -> Finding:
    """Is the disk encrypted, on which the federation's keys lie?"""
    found = encrypted(grounds.folder)
    if found:
        return passed("The disk is encrypted (dm-crypt).", encrypted=True)
    if found is None:
        what, remedy = "Unknown: this machine does not see whether the disk is encrypted.", "Ask who runs the disk"
    else:
        what = "The disk is not encrypted, as far as this machine sees."
        remedy = "Put the federation's folder on an encrypted volume (LUKS)"
    return warn(what, f"{remedy}: the keys of the federation lie on it.", encrypted=found)


def _renewing(sites: list[str], grounds: Grounds) -> str:
    commands = (typed("federation", "renew", grounds.folder, "--site", site) for site in sites)
    return f"Run {', '.join(f'`{command}`' for command in commands)}."


def _days_left(path: Path, grounds: Grounds) -> int:
    return int((ends_at(path.read_bytes()) - grounds.clock()) // DAY_S)
