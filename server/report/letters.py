"""Sites by letter: a report in which `site A` stands for one of them, and whose is which is not to be seen.

1. The order is a keyed shuffle: by the HMAC-SHA-256 of each name, under 32 random bytes of the study's own folder.
   It follows neither names nor sizes, is the same each time, and has nothing to do with another study's.
2. Names are replaced in what was read, before anything is computed from it: what is drawn, told and written
   knows no name, and its order is that of the letters.
3. In words that the coordinator wrote and the recipients may know by heart, a letter would tell whose it is:
   there a name becomes `[site]`, and a class that bears one `[class 2]`, by its place. A name becomes `[site]` in
   clinical columns and in words of ours that name several, too, for these are in the order of names.
4. Digests of contracts and heads of the sites' ledgers are left out. Anyone can compute the contract that
   follows from the study for a guessed name, and a head is known to whom its site showed it.
5. The sites' own models are left out. Each site was told whose it scored, and would find its figures again.

Whoever holds the folder can undo it, and holds the journal with the names anyway. Without it, a site knows itself
by its own figures, and whoever knows how many patients a hospital has, or on what it computes, may know it
again; where rounds ask a sample of the sites, seed and names tell who was asked. That is for the coordinator to weigh.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.history import StudyHistory
from server.ledger_records import HeadsNoted
from server.record import Record
from server.report.evidence import Evidence
from server.report.words import sites_in_order
from shared.clinical import ClinicalColumn, Columns
from shared.durable import write_atomically
from shared.randomness import PrivateRandom
from shared.study import Study

KEY_FILE = "letters.key"
HIDDEN = "[site]"
_KEY_BYTES = 32
ONE, MANY, CAUSES = ("site", "of"), ("cohort", "counted"), ("late", "refused", "absent", "missing")  # fields with names
TEXTS = ("cause", "reason", "detail")
LEFT_OUT = (HeadsNoted,)


class Letters:
    """Who is who.

    Args:
        key: decides the order.
        groups: the sites; those of a later group come after all of an earlier one.
    """

    def __init__(self, key: bytes, *groups: Iterable[str]) -> None:
        self._letters: dict[str, str] = {}
        for group in groups:
            for site in sorted(set(group) - self._letters.keys(), key=lambda name: _rank(key, name)):
                self._letters[site] = f"site {letter(len(self._letters))}"
        longest_first = sorted(self._letters, key=lambda name: (-len(name), name))
        words = "|".join(name.replace("-", "[-_. ]*") for name in longest_first) or "(?!)"  # St. Mary is st-mary, too
        self._words = re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", re.IGNORECASE)
        self._spelled = {_bare(name): letter for name, letter in self._letters.items()}

    def key(self, sites: Iterable[str]) -> dict[str, str]:
        """By letter, the names of those of its sites that are asked for, in the order of the letters."""
        named = {self.of(site): site for site in sites}
        return {site: named[site] for site in sites_in_order(named)}

    def of(self, site: str) -> str:
        """A site's letter; raises `KeyError` for one that is not among the sites."""
        return self._letters[site]

    def all_of(self, sites: Iterable[str]) -> tuple[str, ...]:
        """The letters of several sites, in an order that does not tell theirs."""
        return tuple(sites_in_order(self.of(site) for site in sites))

    def told(self, text: str) -> str:
        """Words of ours, with its letter in the place of a name; of several names the order would tell them."""
        named = {_bare(found) for found in self._words.findall(text)}
        if len(named) != 1:
            return self.hidden(text)
        return self._words.sub(self._spelled[named.pop()], text)

    def hidden(self, text: str) -> str:
        """Words of the coordinator's, without any name."""
        return self._words.sub(HIDDEN, text)


def letter(number: int) -> str:
    """A to Z, then AA to AZ, BA and so on; 0 is A."""
    before, last = divmod(number, 26)
    return (letter(before - 1) if before else "") + chr(ord("A") + last)


def letters_key(folder: Path) -> bytes:
    """The key of a study's letters, made when it is asked for first; raises `OSError` if the disk refuses."""
    path = folder / KEY_FILE
    if not path.exists() or path.stat().st_size != _KEY_BYTES:  # a key that is known, an empty one, hides nothing
        write_atomically(path, PrivateRandom().bytes(_KEY_BYTES), mode=0o600)
    return path.read_bytes()


def sites_of(evidence: Evidence) -> frozenset[str]:
    """Every site that a study's folder names as one."""
    found = set(evidence.study.rounds.sites)
    for _, record in evidence.records:
        found.update(_named(record))
    return frozenset(found)


def by_letter(evidence: Evidence, letters: Letters) -> Evidence:
    """The same evidence without a name; its digests stay those of the original."""
    kept = (entry for entry in evidence.records if not isinstance(entry[1], LEFT_OUT))
    records = tuple((time, _lettered(record, letters)) for time, record in kept)
    standing = evidence.standing
    texts = {
        name: text and letters.told(text) for name, text in (("reason", standing.reason), ("remedy", standing.remedy))
    }
    return replace(
        evidence,
        study=_study(evidence.study, letters),
        standing=standing.model_copy(update=texts),
        records=records,
        history=StudyHistory.replay(record for _, record in records),
        by_letter=True,
    )


def _bare(name: str) -> str:
    """A name without what may be spelled otherwise."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rank(key: bytes, site: str) -> bytes:
    return hmac.digest(key, site.encode(), hashlib.sha256)


def _named(record: Record) -> Iterator[str]:
    for name in type(record).model_fields:
        if name in ONE:
            yield getattr(record, name)
        elif name in MANY + CAUSES:
            yield from getattr(record, name)


def _lettered(record: Record, letters: Letters) -> Record:
    kinds = type(record).model_fields
    fields = {n: getattr(record, n) for n in kinds if n not in TEXTS or kinds[n].annotation is str}  # no code of ours
    return record.model_copy(update={name: _field(name, value, letters) for name, value in fields.items()})


def _field(name: str, value: Any, letters: Letters) -> Any:
    if name in ONE:
        return letters.of(value)
    if name in MANY:
        return letters.all_of(value)
    if name in CAUSES:
        lettered = {letters.of(site): letters.told(text) for site, text in value.items()}
        return {site: lettered[site] for site in sites_in_order(lettered)}
    if name in TEXTS:
        return letters.told(value)
    if name == "software":
        return {what: letters.hidden(text) for what, text in value.items()}
    return letters.hidden(value) if name in ("study", "device") else value


def _study(study: Study, letters: Letters) -> Study:
    about = {"name": letters.hidden(study.name), "description": letters.hidden(study.study.description)}
    rounds = {"sites": letters.all_of(study.rounds.sites)}
    update = {"study": study.study.model_copy(update=about), "rounds": study.rounds.model_copy(update=rounds)}
    classes = tuple(
        name if letters.hidden(name) == name else f"[class {n}]" for n, name in enumerate(study.task.classes, 1)
    )
    task = study.task.model_copy(update={"classes": classes})
    return study.model_copy(update=update | {"task": task, "clinical": _clinical(study.clinical, letters)})


def _clinical(columns: Columns, letters: Letters) -> dict[str, ClinicalColumn]:
    hidden = letters.hidden
    return {
        hidden(name): column.model_copy(update={"values": tuple(map(hidden, column.values))})
        for name, column in columns.items()
    }
