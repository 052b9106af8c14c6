"""What a site hands to an auditor: its ledger as it stands, a card with the public keys, receipts and openings.

Nothing is added to the ledger for it, so that it can be done beside a running agent; an entry that is being written
meanwhile is left out. The ledger is verified on the way: one that does not hold, or lacks an entry that a receipt
beside it names, is not exported, and should be handed over as the file that it is. Receipts are for the auditor to
check.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from client.coordinators import FILE_NAME as MANDATES
from client.join import Enrolment, load_enrolment
from client.opening_evidence import kept_openings
from client.privacy.claims import SETTLE, open_claims
from client.receipts import LEDGER_FILE, RECEIPTS_FILE, recent_receipts
from shared.chain import LONGEST_LINE, Verdict, verify
from shared.durable import rename_durably, write_atomically
from shared.errors import ConfigError, TrustError
from shared.key_card import KeyCard
from shared.keys import identity_hex, transport_pem
from shared.ledger import read_whole_lines

_AS_IT_IS = f"Keep {LEDGER_FILE} as it is, and hand it and {RECEIPTS_FILE} to the auditor."


@dataclass(frozen=True)
class Evidence:
    """A site's ledger, verified, and the card that names its keys; where the two were written, if they were.

    `torn_bytes` stand behind the last whole entry: one that is being written, or that a crash tore off.
    """

    card: KeyCard
    verdict: Verdict
    torn_bytes: int
    files: tuple[Path, ...] = ()


def look_at_ledger(folder: Path) -> Evidence:
    """Verify the ledger in a site's folder by the site's own key.

    Raises:
        ConfigError: the folder is not that of a site that has joined and been started.
        TrustError: the ledger does not hold, or a key file is exposed.
    """
    return _verified(folder, _lines(folder))


def export_ledger(folder: Path, into: Path) -> Evidence:
    """The same, and write ledger, key card and what there is of receipts, openings and mandates into a folder.

    Raises:
        ConfigError: as `look_at_ledger`, or an earlier export lies there.
        TrustError: as `look_at_ledger`; nothing is left of the export.
    """
    card = _card(load_enrolment(folder))
    ledger, keys = into / f"{card.site}-ledger.jsonl", into / f"{card.site}-key-card.json"
    receipts, openings = into / f"{card.site}-receipts.jsonl", into / f"{card.site}-openings.jsonl"
    coordinators = into / f"{card.site}-{MANDATES}"
    if any(file.exists() for file in (ledger, keys, receipts, openings, coordinators)):
        raise ConfigError(f"{into} holds an earlier export of {card.site}.", remedy="Name another folder.")
    into.mkdir(parents=True, exist_ok=True)
    part = ledger.with_suffix(".part")
    try:
        with part.open("wb") as file:
            evidence = _verified(folder, _copied(_lines(folder), file))
        rename_durably(part, ledger)
    finally:
        part.unlink(missing_ok=True)
    write_atomically(keys, card.encode())
    kept, asked = folder / RECEIPTS_FILE, b"".join(kept_openings(folder))
    received = b"".join(read_whole_lines(kept)) if kept.exists() else b""
    mandates = folder / MANDATES
    followed = mandates.read_bytes() if mandates.exists() else b""
    given = ((receipts, received), (openings, asked), (coordinators, followed))
    beside = {file: data for file, data in given if data}
    for place, data in beside.items():
        write_atomically(place, data)
    return replace(evidence, files=(ledger, keys, *beside))


def _verified(folder: Path, lines: Iterable[bytes]) -> Evidence:
    enrolment = load_enrolment(folder)
    card = _card(enrolment)
    verdict = verify(lines, public_key=enrolment.identity_key.public_key(), signer=card.site)
    if not verdict.ok:
        raise TrustError(f"Line {verdict.first_bad_line} of {LEDGER_FILE}: {verdict.reason}", remedy=_AS_IT_IS)
    _insist_on_end(folder, verdict)
    return Evidence(card, verdict, _torn_bytes(folder / LEDGER_FILE))


def _insist_on_end(folder: Path, verdict: Verdict) -> None:
    """No ledger of a site is empty, and none lacks an entry of which the coordinator has signed that it was there."""
    if not verdict.entries:
        raise TrustError(f"{LEDGER_FILE} has no whole entry; a site that was started has one.", remedy=_AS_IT_IS)
    receipted = {receipt.head for receipt in recent_receipts(folder)}
    lacking = [claim.head for claim in open_claims(folder) if claim.head is not None and claim.head in receipted]
    if lacking:
        furthest = max(head.n for head in lacking)
        raise TrustError(
            f"A receipt names an entry {furthest:,} that {LEDGER_FILE}, of {verdict.entries:,} entries, does not have:"
            " it was cut, restored from a backup or written anew; or the receipt errs.",
            remedy=f"{_AS_IT_IS} Then settle it. {SETTLE}",
        )


def _torn_bytes(path: Path) -> int:
    """How many bytes of a line that is not whole yet, or never will be, stand at the end of a ledger."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE))
        end = file.read()
    return len(end) - (end.rfind(b"\n") + 1)


def _lines(folder: Path) -> Iterator[bytes]:
    path = folder / LEDGER_FILE
    if not path.is_file():
        raise ConfigError("There is no ledger beside this configuration.", remedy="Name the site's own site.toml.")
    return read_whole_lines(path)


def _copied(lines: Iterable[bytes], file: IO[bytes]) -> Iterator[bytes]:
    for line in lines:
        file.write(line)
        yield line


def _card(enrolment: Enrolment) -> KeyCard:
    invitation = enrolment.invitation
    return KeyCard(
        federation=invitation.federation,
        site=invitation.site,
        transport_key=transport_pem(enrolment.transport_key.public_key()),
        identity_key=identity_hex(enrolment.identity_key.public_key()),
        coordinator_key=invitation.coordinator_key,
    )
