"""Is the list of images that a site shows the one that it wrote down when it opened the study?

1. what is shown is of the ledger's site;
2. each list that it shows has, under the key that comes with it, the hash of an entry of the ledger for that study;
3. each such entry of the study has its list among them.

Whether the ledger says that they were shown, is said, too. What the images are, and whether these patients are
persons, is not shown. Pure, over entries whose chain others check.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.canonical import digest
from shared.chain import Entry
from shared.image_list import ShownLists, manifest_of, read_list


@dataclass(frozen=True)
class HeldList:
    """One list: the entry that holds its hash (None if none does), and how many images and patients it has by split."""

    manifest: str
    entry: int | None
    images: Mapping[str, int]
    patients: Mapping[str, int]


@dataclass(frozen=True)
class Held:
    """What came of it; `missing` are the entries whose list is not shown, `told` the one that says the lists were."""

    study: str
    study_digest: str
    lists: tuple[HeldList, ...]
    missing: tuple[int, ...]
    foreign: bool
    told: int | None

    @property
    def agrees(self) -> bool:
        """Whether no rule is broken."""
        return bool(self.lists) and not self.foreign and not self.missing and all(one.entry for one in self.lists)


def hold_against(entries: Iterable[Entry], given: ShownLists, *, site: str) -> Held:
    """Hold what is shown against a ledger by the module's rules.

    Raises:
        TrustError: a list is not in its form.
    """
    held, told, mine = dict[str, int](), None, digest(given.encode())
    study = {"study": given.study, "study_digest": given.study_digest}
    for entry in entries:
        if entry.type == "cohort_manifest" and entry.data.items() >= study.items():
            held[str(entry.data.get("manifest"))] = entry.n
        elif entry.type == "image_list_shown" and entry.data.get("file_digest") == mine:
            told = entry.n
    shown = tuple(_shown(text, bytes.fromhex(given.key), held) for text in given.lists)
    there = {one.manifest for one in shown}
    missing = tuple(n for manifest, n in held.items() if manifest not in there)
    return Held(given.study, given.study_digest, shown, missing, foreign=given.site != site, told=told)


def _shown(text: str, key: bytes, held: Mapping[str, int]) -> HeldList:
    manifest, images = manifest_of(key, text.encode()), read_list(text)
    patients = Counter(split for split, _ in {(one.split, one.patient) for one in images})
    return HeldList(manifest, held.get(manifest), dict(Counter(one.split for one in images)), dict(patients))
