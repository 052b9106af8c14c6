"""Which labels the words and numbers of a hospital's table stand for.

Decides the meaning of one cell or one line of flags for the study's task. Reading the table is left
to `labels`, reading the arrays to `npz`. Anything not understood sets the image aside; a label is
never guessed.
"""

from collections.abc import Mapping, Sequence

from client.imaging.reasons import Reason, SetAside
from shared.errors import ConfigError
from shared.study import TaskSpec

_TRUE = frozenset({"1", "1.0", "positive", "true", "yes"})
_FALSE = frozenset({"0", "0.0", "negative", "false", "no"})


class Vocabulary:
    """Turns words into labels, case and outer blanks aside.

    Args:
        task: the study's classes.
        label_map: the site's words for class names, `positive` or `negative`.

    Raises:
        ConfigError: the map leads to a word that the study does not know.
    """

    def __init__(self, task: TaskSpec, label_map: Mapping[str, str]) -> None:
        self.task = task
        self._classes = {_fold(name): number for number, name in enumerate(task.classes)}
        self._map = {_fold(word): _fold(name) for word, name in label_map.items()}
        unknown = sorted(set(self._map.values()) - set(self._classes) - _TRUE - _FALSE)
        if unknown:
            raise ConfigError(
                f"data.label_map leads to {', '.join(unknown)}, which the study does not know.",
                remedy=f"Use positive, negative or one of: {', '.join(task.classes)}.",
            )

    def from_word(self, text: str) -> tuple[int, ...]:
        """Labels of one cell: a class name or number, or several names joined by `|` if multilabel.

        Raises:
            SetAside: the cell is empty or not understood.
        """
        if not text.strip():
            raise SetAside(Reason.UNLABELLED)
        if self.task.mode == "multilabel":
            return self._several(text)
        word = self._mapped(text)
        return (self._binary(word) if self.task.mode == "binary" else self._class(word),)

    def from_flags(self, cells: Sequence[str]) -> tuple[int, ...]:
        """Labels of one 0/1 cell per class, in the order of the study's classes.

        Raises:
            SetAside: a cell is empty or not understood, or a multiclass line has not exactly one 1.
        """
        if any(not cell.strip() for cell in cells):
            raise SetAside(Reason.UNLABELLED)
        flags = tuple(_flag(self._mapped(cell)) for cell in cells)
        if self.task.mode != "multiclass":
            return flags
        if sum(flags) != 1:
            raise SetAside(Reason.LABEL_UNKNOWN)
        return (flags.index(1),)

    def _mapped(self, text: str) -> str:
        word = _fold(text)
        return self._map.get(word, word)

    def _binary(self, word: str) -> int:
        return 1 if word in self._classes else _flag(word)

    def _class(self, word: str) -> int:
        if word in self._classes:
            return self._classes[word]
        if word.isascii() and word.isdecimal() and len(word) < 4 and int(word) < self.task.outputs:
            return int(word)
        raise SetAside(Reason.LABEL_UNKNOWN)

    def _several(self, text: str) -> tuple[int, ...]:
        words = [self._mapped(part) for part in text.split("|")]
        if len(words) == 1 and words[0] == "negative":
            return (0,) * self.task.outputs
        if not set(words) <= self._classes.keys():
            raise SetAside(Reason.LABEL_UNKNOWN)
        true = {self._classes[word] for word in words}
        return tuple(int(number in true) for number in range(self.task.outputs))


def _flag(word: str) -> int:
    if word in _TRUE:
        return 1
    if word in _FALSE:
        return 0
    raise SetAside(Reason.LABEL_UNKNOWN)


def _fold(text: str) -> str:
    return text.strip().casefold()
