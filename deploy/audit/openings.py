"""Who asked for what: the openings that a site kept, held against the coordinator's key and the site's ledger.

1. each is signed by the coordinator, for this site, and opens a study;
2. the ledger has contracts under the digest of the study that it asks for and of its cohort rule;
3. each contract of the ledger has such an opening, or is said to have none.

Rules 1 and 2 are the evidence: the coordinator cannot deny the request, and no contract stands beside a request for
another study or other sites. The other terms of a contract are the site's own.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.keys import Signer, coordinator_of, shown
from shared.chain import Entry
from shared.cohort_rule import cohort_rule, rule_in_words
from shared.console import facts
from shared.envelope import open_envelope
from shared.errors import ProtocolError, TrustError
from shared.identity import COORDINATOR
from shared.keys import Noting, fingerprint, identity_hex
from shared.openings import read_opening_line
from shared.wire import Open, decode_to_site, to_site

_Terms = tuple[str, str]  # the digests of a study and of its cohort rule


@dataclass(frozen=True)
class Asked:
    """One request that a coordinator signed, and the entries of the contracts for what it asks.

    `signed_by` is the fingerprint of the key, with its holder's name before it where mandates say it.
    """

    study: str
    study_digest: str
    cohort: tuple[str, ...]
    rounds: int
    rule: tuple[str, ...]
    entries: tuple[int, ...]
    signed_by: str


@dataclass(frozen=True)
class Requests:
    """What came of it; `without` are the entries of contracts that no opening was kept of."""

    asked: tuple[Asked, ...]
    without: tuple[int, ...]
    coordinator: str


def requests(entries: Iterable[Entry], lines: Iterable[bytes], signer: Signer) -> Requests:
    """Hold openings against a ledger whose chain is checked, by the module's rules.

    Raises:
        ConfigError: the coordinator's key is not known.
        TrustError: an opening breaks rule 1.
    """
    contracts = _contracts(entries)
    asked = sorted({_asked(*_opened(line, signer), contracts) for line in lines}, key=_place)
    kept = {n for one in asked for n in one.entries}
    without = tuple(n for agreed in contracts.values() for n in agreed if n not in kept)
    return Requests(tuple(asked), tuple(sorted(without)), shown(coordinator_of([signer], None)))


def requests_data(found: Requests) -> dict[str, Any]:
    """For a program."""
    return {
        "coordinator_fingerprint": found.coordinator,
        "asked": [asdict(one) for one in found.asked],
        "contracts_without": list(found.without),
    }


def requests_failure(found: Requests) -> TrustError | None:
    """Why the answer is no: there is nothing that anybody signed."""
    if found.asked:
        return None
    return TrustError("No opening was kept.", remedy="Ask the site for its export again, with its openings.")


def requests_page(found: Requests) -> RenderableType:
    """For a person."""
    told: dict[str, str] = {}
    several = len({one.signed_by for one in found.asked}) > 1 or ", then " in found.coordinator
    for one in found.asked:  # an amended study was asked for more than once, and so was one with other sites
        words = _told(one, named=several)
        told[one.study] = f"{told[one.study]}\n\n{words}" if one.study in told else words
    lacking = f"\nNo opening was kept of the contracts in entries {', '.join(map(str, found.without))}."
    signed = Text(f"the coordinator {found.coordinator} signed each of these requests", style="bold green")
    return Group(
        signed if found.asked else Text("no opening was kept", style="bold red"),
        Text(),
        facts(told),
        *([Text(lacking)] if found.without else []),
    )


def _told(one: Asked, *, named: bool) -> str:
    where = f"{'entry' if len(one.entries) == 1 else 'entries'} {', '.join(map(str, one.entries))}"
    agreed = f"agreed to in {where}" if one.entries else "never agreed to, by the signed part of the ledger"
    asked = [f"signed by {one.signed_by}"] if named else []
    return "\n".join([f"{one.rounds} rounds, with {', '.join(one.cohort)}", *one.rule, *asked, agreed])


def _opened(line: bytes, signer: Signer) -> tuple[Open, str]:
    """The opening, and who signed it."""
    kept, keys = read_opening_line(line), coordinator_of([signer], None)
    noted = Noting(*keys.keys)
    try:
        body = open_envelope(
            bytes.fromhex(kept.envelope), keys={COORDINATOR: noted}, purpose=to_site(signer.name), limit=len(line)
        ).body
        message = decode_to_site(body)
    except ProtocolError:
        raise
    except TrustError as error:
        raise TrustError(
            f"An opening is not what the coordinator signed for {signer.name}: {error.what}",
            remedy="Ask the site for its export again, and compare the coordinator's fingerprint.",
        ) from None
    if not isinstance(message, Open):
        raise TrustError("A message that was kept opens no study.", remedy="Ask the site what it is.")
    name = f"{signer.led[keys.keys.index(noted.held)]} " if signer.led else ""
    return message, name + fingerprint(identity_hex(noted.held))


def _place(one: Asked) -> float:
    return min(one.entries, default=math.inf)


def _contracts(entries: Iterable[Entry]) -> dict[_Terms, tuple[int, ...]]:
    found = dict[_Terms, tuple[int, ...]]()
    for entry in entries:
        if entry.type == "contract":
            terms = (str(entry.data.get("study_digest")), str(entry.data.get("cohort")))
            found[terms] = (*found.get(terms, ()), entry.n)
    return found


def _asked(message: Open, signed_by: str, contracts: dict[_Terms, tuple[int, ...]]) -> Asked:
    study = message.study
    digest, rule = study.digest(), tuple(rule_in_words(study.rounds))
    agreed = contracts.get((digest, cohort_rule(study, message.cohort)), ())
    return Asked(study.name, digest, message.cohort, study.agreed_rounds, rule, agreed, signed_by)
