"""What lies in the site's folder: site.toml, the keys, the policy, and the software that serves it."""

import shutil
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from client.checks.grounds import Grounds
from client.policy import Policy, check_federation
from client.privacy.patients import KEY_FILE
from client.receipts import LEDGER_FILE
from client.software import installed
from client.study_store import StudyStore
from shared.errors import WireCode
from shared.ledger import read_types
from shared.preflight import Fact, Finding, fix, passed, warn
from shared.protocol import OLDEST, PROTOCOL
from shared.secret_files import look_at_secrets
from shared.version import VERSION

FLOWER = "1.39"  # the Fleet API that both sides speak
_SECRETS = ("keys", "keys/transport.pem", "keys/identity.pem", str(KEY_FILE), "invitation.json")
_LOWEST = {"smallest_cell": 2, "patients_per_round_at_least": 2, "batch_size_at_least": 2, "patients_at_least": 2}


def look_at_settings(grounds: Grounds) -> Finding:
    """Can site.toml be used, and is it of the site that was invited?"""
    named, invited = grounds.settings.site.name, grounds.invitation.site
    if named != invited:
        return fix(
            f"site.toml names the site {named}, its invitation {invited}.",
            "Write the invitation's name into site.toml.",
        )
    return passed(f"Site {named} of the federation {grounds.invitation.federation}.")


def look_at_keys(grounds: Grounds) -> Finding:
    """Are the keys there, sound, and closed to other accounts of this machine?"""
    if found := look_at_secrets(grounds.folder, _SECRETS, otherwise="make new keys and join again"):
        return found
    mine = grounds.enrolment  # they can be read, and are keys
    del mine
    return passed("Transport key and identity key are this account's alone.")


def look_at_policy(grounds: Grounds) -> Finding:
    """Does the policy fit the invitation, can it alarm, and does it leave floors?"""
    policy, notify, invitation = grounds.settings.policy, grounds.settings.notify, grounds.invitation
    check_federation(policy, federation=invitation.federation, coordinator=invitation.coordinator_fingerprint())
    if notify.command and shutil.which(notify.command[0]) is None:
        return fix(
            "notify.command names a program that is not there or may not be run.",
            "Correct it, or leave it out: nobody would hear of trouble.",
        )
    if low := [policy.line(key) for key, least in _LOWEST.items() if getattr(policy, key) < least]:
        return warn(
            f"{'; '.join(low)}: what is told or learned may be of one patient.",
            "Leave these lines out, unless the images are nobody's; the defaults stand in docs/site-file.md.",
        )
    return passed(_permitted(policy))


def _permitted(policy: Policy) -> str:
    if policy.studies == "any":
        return "Every study that keeps the floors is taken part in; nobody is asked."
    if policy.studies == "ask":
        return "A person approves every study."
    return f"{len(policy.studies)} studies are permitted by name."


def look_at_software(grounds: Grounds) -> Finding:
    """Does this site understand the server, by the server's last signed message?"""
    try:
        flower = version("flwr")
    except PackageNotFoundError:
        flower = "none"
    facts: dict[str, Fact] = {"version": VERSION, "protocol": PROTOCOL, "flower": flower, "code": installed().code}
    if not flower.startswith(f"{FLOWER}."):
        return fix(
            f"Flower {flower} is installed; both sides speak that of {FLOWER}.",
            "Install with the constraints.txt of this version.",
            **facts,
        )
    mine = f"Wardround {VERSION}, protocol {OLDEST} to {PROTOCOL}"
    if _was_not_understood(grounds.folder):
        return fix(
            f"The server's last message asked for what this software does not know ({mine}).",
            "Upgrade to the coordinator's version as docs/upgrade.md says.",
            **facts,
        )
    theirs = _said_by_server(grounds.folder)
    if theirs is None:
        return passed(f"{mine}; no message has come that would tell the server's.", **facts)
    return passed(f"{mine}; the server is at {theirs}.", server=theirs, **facts)


def _said_by_server(folder: Path) -> str | None:
    """The version in the youngest opening that the coordinator signed."""
    state = folder / "state"
    files = sorted(state.glob("*.json"), key=lambda file: file.stat().st_mtime) if state.is_dir() else []
    record = StudyStore(state).find(files[-1].stem) if files else None
    return record.open.version if record else None


def _was_not_understood(folder: Path) -> bool:
    """Whether the last message that this site answered asked for another protocol, or another network."""
    if not (folder / LEDGER_FILE).is_file():
        return False
    last = deque(read_types(folder / LEDGER_FILE, ("release",)), maxlen=1)
    return bool(last) and last[0].data.get("refusal") == WireCode.PROTOCOL
