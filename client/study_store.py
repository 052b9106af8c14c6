"""What a site remembers of each study, across restarts: the agreed study, the epoch, the model chain."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from shared.contract import Contract, derive_contract
from shared.durable import write_atomically
from shared.errors import Refusal, WireCode
from shared.fields import Digest
from shared.section import Section
from shared.site_terms import SiteTerms
from shared.wire import Open


class StudyRecord(Section):
    """One study as this site knows it.

    `terms` are what this site agreed under. `chain` maps a round to the incoming model that this site saw there;
    only the last two stay. A study that is `purged` left nothing else here, and is not opened again.
    """

    open: Open
    epoch: int
    terms: SiteTerms
    chain: dict[int, Digest] = Field(default_factory=dict)
    closed: bool = False
    purged: bool = False

    @classmethod
    def opened(
        cls, message: Open, before: "StudyRecord | None", *, digests: Sequence[str], terms: SiteTerms
    ) -> "StudyRecord":
        """What to remember of a study that was opened under terms; `digests` are all that it has had, see `trail`.

        Of the same study, amended or not, the models that were seen stay.
        """
        same = before is not None and before.open.study.digest() in digests
        chain = before.chain if same and before is not None else {}
        return cls(open=message, epoch=message.address.epoch, chain=chain, terms=terms)

    def contract(self, site: str) -> Contract:
        """What may leave this site in the study."""
        return derive_contract(self.open, site=site).under(self.terms)

    def with_model(self, number: int, model: Digest, previous: Digest | None) -> "StudyRecord":
        """Note the incoming model of a round.

        Raises:
            Refusal: `MODEL_SWITCHED`, it does not follow from the model seen before.
        """
        seen = self.chain.get(number - 1)
        if self.chain.get(number, model) != model or (seen is not None and previous != seen):
            raise Refusal(WireCode.MODEL_SWITCHED, remedy="Ask the coordinator why the model's history changed.")
        kept = {n: d for n, d in self.chain.items() if n >= number - 1}
        return self.model_copy(update={"chain": kept | {number: model}})


class StudyStore:
    """Study records as one JSON file each, under `folder`; this process is their only writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._records = {r.open.study.name: r for path in sorted(folder.glob("*.json")) if (r := _read(path))}

    def find(self, study: str) -> StudyRecord | None:
        """The record of a study, if the site knows it."""
        return self._records.get(study)

    def save(self, record: StudyRecord) -> None:
        """Replace a record durably."""
        name = record.open.study.name
        write_atomically(self._folder / f"{name}.json", record.model_dump_json().encode(), mode=0o600)
        self._records[name] = record

    def changed(self, study: str) -> float | None:
        """When the record of a study was written last, in Unix seconds; of one that is closed, when it was.

        None if the disk does not say, because the record was taken away, or cannot be reached.
        """
        try:
            return (self._folder / f"{study}.json").stat().st_mtime
        except OSError:
            return None

    def names(self) -> list[str]:
        """Names of all studies that the site knows, in order."""
        return sorted(self._records)

    def active(self) -> list[str]:
        """Names of the studies that are open at this site."""
        return [name for name, record in self._records.items() if not record.closed]

    def ended(self, now: str) -> list[str]:
        """Names of the studies that are closed here, and whose contract would not hold at a time (RFC 3339) either."""
        return [name for name, record in self._records.items() if record.closed and record.terms.run_out(now)]

    def backbones(self, now: str) -> set[str]:
        """Digests of the backbones that studies pin, but those that have `ended`."""
        ended = self.ended(now)
        studies = [record.open.study for name, record in self._records.items() if name not in ended]
        return {study.backbone.sha256 for study in studies if study.backbone is not None}


def _read(path: Path) -> StudyRecord | None:
    """A record from disk; one that cannot be read counts as absent, and the study is opened anew."""
    try:
        return StudyRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def open_digests(folder: Path) -> frozenset[str]:
    """The digests of the studies whose records in a folder say that they are open; for readers beside the writer."""
    records = (_read(path) for path in folder.glob("*.json"))
    return frozenset(one.open.study.digest() for one in records if one is not None and not one.closed)
