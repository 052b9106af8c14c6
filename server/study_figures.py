"""The figures of one study: from its live view, and from its journal, which is read once and then as it grows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from server.log import JournalReader
from server.progress import Progress
from server.study_folder import ENDED, StudyFolder
from shared.disks import bytes_under
from shared.errors import WardroundError
from shared.figures import Family, Sample
from shared.keys import VerifyKey
from shared.ledger import Entry

_STUDY: Any = ("study",)
_SITE: Any = ("study", "site")
_CODE: Any = ("study", "site", "code")
STUDY_FAMILIES = (
    Family("wardround_study_state", "1 for the state that the study is in.", ("study", "code")),
    Family("wardround_study_stage", "1 for the stage that the round is in.", ("study", "code")),
    Family("wardround_study_planned_rounds", "Rounds that the study is to have.", _STUDY),
    Family("wardround_study_rounds_total", "Rounds that were committed.", _STUDY),
    Family("wardround_study_rounds_failed_total", "Attempts at a round that too few sites answered.", _STUDY),
    Family("wardround_study_round_seconds_total", "Duration of all committed rounds.", _STUDY),
    Family("wardround_study_last_round_seconds", "Duration of the last committed round.", _STUDY),
    Family("wardround_study_asked_sites", "Sites of the round in hand.", _STUDY),
    Family("wardround_study_missing_sites", "Sites of the round in hand whose heartbeats are missing.", _STUDY),
    Family("wardround_study_train_examples", "Training images that a site brings to the study.", _SITE),
    Family("wardround_study_updates_admitted_total", "Updates that were admitted.", _SITE),
    Family("wardround_study_updates_refused_total", "Updates that were refused, by the primary reason.", _CODE),
    Family("wardround_study_refusals_total", "Times that a site said no, by its code.", _CODE),
    Family("wardround_study_sites_lost_total", "Times that a site did not answer.", _SITE),
    Family("wardround_study_received_bytes_total", "Bytes of updates that arrived whole.", _STUDY),
    Family("wardround_study_sent_bytes_total", "Bytes of models that were sent.", _STUDY),
    Family("wardround_study_spool_bytes", "Size of the study's spool.", _STUDY),
    Family("wardround_study_journal_entries", "Entries of the study's journal.", _STUDY),
)
_BY_SITE = {
    "update_admitted": "updates_admitted_total",
    "update_refused": "updates_refused_total",
    "site_refused": "refusals_total",
    "site_lost": "sites_lost_total",
}


class StudyFigures:
    """What is told of one study.

    Args:
        folder: the study.
        public_key: the coordinator's, against which the journal is checked.
    """

    def __init__(self, folder: StudyFolder, *, public_key: VerifyKey) -> None:
        self._folder = folder
        self._journal = JournalReader(folder.journal, public_key=public_key)
        self._progress = Progress()
        self._entries = self._failed = 0
        self._examples: dict[str, int] = {}  # by site
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()  # by figure and its labels behind the study
        self._sound = True

    def samples(self, state: str) -> Iterator[Sample]:
        """Every figure as it is now; of a journal that does not hold, none.

        Args:
            state: the state that the study is in.
        """
        study, live = self._folder.name, self._folder.read_status()
        yield Sample("wardround_study_state", 1, (study, state))
        if state not in ENDED and live.get("stage"):
            yield Sample("wardround_study_stage", 1, (study, str(live["stage"])))
        self._read()
        values = _of_view(live, ended=state in ENDED) | {"spool_bytes": bytes_under(self._folder.path / "spool")}
        for name, value in (values | (self._of_journal() if self._sound else {})).items():
            yield Sample(f"wardround_study_{name}", value, (study,))
        for site, examples in self._examples.items():
            yield Sample("wardround_study_train_examples", examples, (study, site))
        for (name, labels), count in self._counts.items():
            yield Sample(f"wardround_study_{name}", count, (study, *labels))

    def _of_journal(self) -> dict[str, float]:
        seconds = self._progress.round_seconds
        last = {"last_round_seconds": seconds[-1]} if seconds else {}
        return last | {
            "rounds_total": len(seconds),
            "rounds_failed_total": self._failed,
            "round_seconds_total": sum(seconds),
            "received_bytes_total": self._progress.received_bytes,
            "journal_entries": self._entries,
        }

    def _read(self) -> None:
        try:
            for entry in self._journal.entries() if self._sound else ():
                self._progress.add((entry,))
                self._take(entry)
        except WardroundError:  # the study's own process says so
            self._sound = False

    def _take(self, entry: Entry) -> None:
        data = entry.data
        self._entries = entry.n
        if entry.type == "round_failed":
            self._failed += 1
        elif entry.type == "site_opened":
            self._examples[data["site"]] = data["examples"].get("train", 0)
        elif (name := _BY_SITE.get(entry.type)) is not None:
            code = data["reasons"][0] if entry.type == "update_refused" else data.get("code")
            self._counts[name, (data["site"], *((code,) if code else ()))] += 1


def _of_view(live: Mapping[str, Any], *, ended: bool) -> dict[str, float]:
    """What the live view tells; of a study that has ended it shows the closing trip, and no site is asked."""
    told: dict[str, float] = {"sent_bytes_total": live.get("sent_bytes", 0)}
    if "rounds" in live:
        told["planned_rounds"] = live["rounds"]
    sites = () if ended else live.get("sites", ())
    return told | {"asked_sites": len(sites), "missing_sites": sum(not site["online"] for site in sites)}
