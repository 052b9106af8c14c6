"""Is the list of images that a site shows the one that it wrote down when it opened the study?

1. the opening is of the ledger's site;
2. each list that it shows has, under the key that it opens, the hash of an entry of the ledger for that study;
3. each such entry of the study has its list in the opening.

Whether the ledger says that this opening was shown, is said, too. What the images are, and whether these patients are
persons, is not shown. Pure, over entries whose chain others check.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.canonical import digest
from shared.chain import Entry
from shared.cohort_list import Opening, manifest_of, read_list


@dataclass(frozen=True)
class ShownList:
    """One list: the entry that holds its hash (None if none does), and how many images and patients it has by split."""

    manifest: str
    entry: int | None
    images: Mapping[str, int]
    patients: Mapping[str, int]


@dataclass(frozen=True)
class Shown:
    """What an opening shows; `missing` are the entries whose list it lacks, `told` the one that says it was shown."""

    study: str
    study_digest: str
    lists: tuple[ShownList, ...]
    missing: tuple[int, ...]
    foreign: bool
    told: int | None

    @property
    def agrees(self) -> bool:
        """Whether no rule is broken."""
        return bool(self.lists) and not self.foreign and not self.missing and all(one.entry for one in self.lists)


def hold_against(entries: Iterable[Entry], opening: Opening, *, site: str) -> Shown:
    """Hold an opening against a ledger by the module's rules.

    Raises:
        TrustError: a list is not in its form.
    """
    held, told, mine = dict[str, int](), None, digest(opening.encode())
    study = {"study": opening.study, "study_digest": opening.study_digest}
    for entry in entries:
        if entry.type == "cohort_manifest" and entry.data.items() >= study.items():
            held[str(entry.data.get("manifest"))] = entry.n
        elif entry.type == "cohort_shown" and entry.data.get("opening") == mine:
            told = entry.n
    shown = tuple(_shown(text, bytes.fromhex(opening.key), held) for text in opening.lists)
    there = {one.manifest for one in shown}
    missing = tuple(n for manifest, n in held.items() if manifest not in there)
    return Shown(opening.study, opening.study_digest, shown, missing, foreign=opening.site != site, told=told)


def _shown(text: str, key: bytes, held: Mapping[str, int]) -> ShownList:
    manifest, images = manifest_of(key, text.encode()), read_list(text)
    patients = Counter(split for split, _ in {(one.split, one.patient) for one in images})
    return ShownList(manifest, held.get(manifest), dict(Counter(one.split for one in images)), dict(patients))
