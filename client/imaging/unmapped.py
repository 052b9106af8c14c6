"""The words of a site's table that the study does not know: what hospital IT may be shown of them.

Decides by one rule: a word is shown if it stands for enough different patients. A diagnosis or a code does; a
name, a date or a sentence in the wrong column does not. Words are shown on the site's own terminal alone, and are
in no account, log or message.
"""

from collections import defaultdict
from collections.abc import Iterable

from client.imaging.label_settings import fold

_LONGEST = 40  # characters of a word; a sentence is no word


class Unmapped:
    """Remembers which patients an unknown word was said of."""

    def __init__(self) -> None:
        self._patients: dict[str, set[str]] = defaultdict(set)

    def note(self, words: Iterable[str], patient: str | None) -> None:
        """Take down that these words were said of a patient, by pseudonym; of nobody counts for nobody."""
        for word in words if patient else ():
            self._patients[fold(word)].add(str(patient))

    def shown(self, *, smallest_cell: int) -> dict[str, int]:
        """Patients by word, the most frequent first, of those words that may be shown.

        Args:
            smallest_cell: so many different patients at least (`policy.smallest_cell`).
        """
        counts = {word: len(patients) for word, patients in self._patients.items()}
        enough = [word for word, number in counts.items() if number >= smallest_cell and _is_word(word)]
        return {word: counts[word] for word in sorted(enough, key=lambda word: (-counts[word], word))}


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable()
