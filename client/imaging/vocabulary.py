"""Which labels the words and numbers of a hospital's table stand for.

Decides the meaning of one cell or one line of flags for the study's task. Reading the table is left
to `labels`, reading the arrays to `npz`. Anything not understood sets the image aside; a label is
never guessed.
"""

from collections.abc import Mapping, Sequence

from client.imaging.label_settings import fold
from client.imaging.reasons import Reason, SetAside
from shared.errors import ConfigError
from shared.study import TaskSpec

UNLABELLED = "unlabelled"  # where a word leads that stands for no label at all
_TRUE = frozenset({"1", "1.0", "positive", "true", "yes"})
_FALSE = frozenset({"0", "0.0", "negative", "false", "no"})


class Vocabulary:
    """Turns words into labels, case and outer blanks aside.

    Args:
        task: the study's classes.
        words: the site's words for class names, `positive`, `negative` or `unlabelled`.

    Raises:
        ConfigError: a word leads to something that the study does not know.
    """

    def __init__(self, task: TaskSpec, words: Mapping[str, str]) -> None:
        self.task = task
        self._classes = {fold(name): number for number, name in enumerate(task.classes)}
        self._map = {fold(word): fold(name) for word, name in words.items()}
        known = {*self._classes, *_TRUE, *_FALSE, UNLABELLED}
        if lost := [f'"{word}" = "{name}"' for word, name in words.items() if fold(name) not in known]:
            raise ConfigError(
                f"A line of labels.words in site.toml leads to no class of the study: {', '.join(lost)}.",
                remedy=f"Use {', '.join(task.classes)}, positive, negative or {UNLABELLED} on the right.",
            )

    def from_word(self, text: str) -> tuple[int, ...]:
        """Labels of one cell: a class name or number, or several names joined by `|` if multilabel.

        Raises:
            SetAside: the cell is empty, stands for no label, or is not understood.
        """
        if self._says_nothing(text):
            raise SetAside(Reason.UNLABELLED)
        if self.task.mode == "multilabel":
            return self._several(text)
        word = self._mapped(text)
        return (self._binary(word) if self.task.mode == "binary" else self._class(word),)

    def from_flags(self, cells: Sequence[str]) -> tuple[int, ...]:
        """Labels of one 0/1 cell per class, in the order of the study's classes.

        Raises:
            SetAside: a cell is empty, stands for no label or is not understood, or a multiclass line has not
                exactly one 1.
        """
        if any(self._says_nothing(cell) for cell in cells):
            raise SetAside(Reason.UNLABELLED)
        flags = tuple(_flag(self._mapped(cell)) for cell in cells)
        if self.task.mode != "multiclass":
            return flags
        if sum(flags) != 1:
            raise SetAside(Reason.LABEL_UNKNOWN)
        return (flags.index(1),)

    def structure(self, text: str) -> int | None:
        """The number of the structure that a name leads to, from 1; 0 for none, None if it is not understood."""
        word = self._mapped(text)
        if word in self._classes:
            return self._classes[word] + 1
        return 0 if word in (UNLABELLED, "negative") else None

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """The words of a label cell that `from_word` does not understand."""
        parts = text.split("|") if self.task.mode == "multilabel" and not self._understood(text) else [text]
        return tuple(part for part in parts if not self._understood(part))

    def unknown_flags(self, cells: Sequence[str]) -> tuple[str, ...]:
        """The cells of a line that `from_flags` does not understand."""
        return tuple(dict.fromkeys(cell for cell in cells if self._mapped(cell) not in _TRUE | _FALSE))

    def _understood(self, text: str) -> bool:
        try:
            self.from_word(text)
        except SetAside as error:
            return error.reason is Reason.UNLABELLED
        return True

    def _says_nothing(self, text: str) -> bool:
        word = self._mapped(text)
        return not word or (word == UNLABELLED and word not in self._classes)

    def _mapped(self, text: str) -> str:
        word = fold(text)
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
