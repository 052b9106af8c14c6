"""What a site hands to an auditor: its ledger as it stands, a card with the public keys, receipts and openings.

Nothing is added to the ledger for it, so that it can be done beside a running agent; an entry that is
being written meanwhile is left out. The ledger is verified on the way: one that does not hold is not
exported, and should be handed over as the file that it is. Receipts are for the auditor to check.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from client.join import Enrolment, load_enrolment
from client.opening_evidence import kept_openings
from client.receipts import LEDGER_FILE, RECEIPTS_FILE
from shared.chain import Verdict, verify
from shared.durable import rename_durably, write_atomically
from shared.errors import ConfigError, TrustError
from shared.key_card import KeyCard
from shared.keys import identity_hex, transport_pem
from shared.ledger import read_whole_lines


@dataclass(frozen=True)
class Evidence:
    """A site's ledger, verified, and the card that names its keys; where the two were written, if they were."""

    card: KeyCard
    verdict: Verdict
    files: tuple[Path, ...] = ()


def look_at_ledger(folder: Path) -> Evidence:
    """Verify the ledger in a site's folder by the site's own key.

    Raises:
        ConfigError: the folder is not that of a site that has joined and been started.
        TrustError: the ledger does not hold, or a key file is exposed.
    """
    return _verified(folder, _lines(folder))


def export_ledger(folder: Path, into: Path) -> Evidence:
    """The same, and write ledger, key card and what there is of receipts and openings into a folder, made if need be.

    Raises:
        ConfigError: as `look_at_ledger`, or an earlier export lies there.
        TrustError: as `look_at_ledger`; nothing is left of the export.
    """
    card = _card(load_enrolment(folder))
    ledger, keys = into / f"{card.site}-ledger.jsonl", into / f"{card.site}-key-card.json"
    receipts, openings = into / f"{card.site}-receipts.jsonl", into / f"{card.site}-openings.jsonl"
    if any(file.exists() for file in (ledger, keys, receipts, openings)):
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
    beside = {file: data for file, data in ((receipts, received), (openings, asked)) if data}
    for place, data in beside.items():
        write_atomically(place, data)
    return Evidence(evidence.card, evidence.verdict, (ledger, keys, *beside))


def _verified(folder: Path, lines: Iterable[bytes]) -> Evidence:
    enrolment = load_enrolment(folder)
    card = _card(enrolment)
    verdict = verify(lines, public_key=enrolment.identity_key.public_key(), signer=card.site)
    if not verdict.ok:
        raise TrustError(
            f"Line {verdict.first_bad_line} of ledger.jsonl: {verdict.reason}",
            remedy="Keep the file as it is, and hand it to the auditor as it is.",
        )
    return Evidence(card, verdict)


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
