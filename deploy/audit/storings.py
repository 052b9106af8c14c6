"""Was every result that went into a site's PACS signed for? What the ledger says of each, held against the consents.

A result conforms if

1. it was sent while the last word on its model was a consent that names its destination;
2. that was no earlier than the consent was given, and no later than the end of its last day, wherever the site lies;
3. if it was stored, it was sent before, or the first two hold of that moment.

That the entry before it is about the same instance is known by its mark; what the instance is, the site's word. Pure.
"""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shared.chain import Entry

_AFOOT = 1000  # results that are sent and not yet stored; a run has one
_DAY = timedelta(days=1)  # what a site's own day is at most behind UTC's


class Storings:
    """The rules above, held over a ledger's entries one after the other; memory grows with models alone."""

    def __init__(self) -> None:
        self._consents: dict[str, Mapping[str, Any]] = {}  # by model
        self._afoot: deque[tuple[str, str, str]] = deque(maxlen=_AFOOT)

    def follow(self, entry: Entry) -> str | None:
        """Take the next entry; the rule that it breaks, in words, or None."""
        said, model = entry.data, str(entry.data.get("model"))
        match entry.type:
            case "store_consent":
                self._consents[model] = said
            case "store_consent_withdrawn":
                self._consents.pop(model, None)
            case "result_sent":
                self._afoot.append(_what(said))
                return self._fault(said, model, said.get("sent"))
            case "result_stored" if _what(said) in self._afoot:
                self._afoot.remove(_what(said))
            case "result_stored":
                return self._fault(said, model, said.get("stored"))
        return None

    def _fault(self, said: Mapping[str, Any], model: str, moment: object) -> str | None:
        consent = self._consents.get(model)
        if consent is None:
            return "a result went into a PACS, and nobody had signed for its model"
        if consent.get("destination") != said.get("destination"):
            return "a result went into another PACS than somebody had signed for"
        try:
            given, at = _moment(consent.get("given")), _moment(moment)
            held = given <= at and at.date() <= date.fromisoformat(str(consent.get("until"))) + _DAY
        except ValueError:
            return "a result or a consent does not say when"
        return None if held else "a result went into a PACS outside the days that somebody had signed for"


def _what(said: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(said.get("model")), str(said.get("instance")), str(said.get("destination"))


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
