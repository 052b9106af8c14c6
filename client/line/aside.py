"""Messages whose objects the server has announced and not sent: put aside, so that one sender holds up nobody else.

Flower hands a message out while its sender still pushes its objects, and a sender may stop in the middle
(its process stopped, its computer without memory). A site has one line for all its studies, so:

1. An object that does not come within a few seconds is waited for no longer (`client/line/message_calls.py`);
   its message is put aside and the next one taken.
2. Each pull looks first whether a message that was put aside is whole, which its root object says: the
   server pushes it last.
3. One that Flower has given up (180 s after its last object) is whole no more: whoever reads it learns that.
4. At most `MOST` stand aside; beyond, the one that has waited longest is given up.

What stands aside stays among the notes on disk like every message without an answer, so a restart finds it.
"""

from collections.abc import Callable

from client.line.parcels import Note
from shared.errors import LinkError

MOST = 16


class Delayed(LinkError):
    """An object of this message is announced and has not come; the line itself works."""

    def __init__(self) -> None:
        super().__init__(
            "The server has announced a message and not sent all of it.",
            remedy="Nothing; it is read when the rest has come, and others meanwhile.",
        )


class Aside:
    """The messages that wait for their objects, in the order in which they were put aside."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}

    def put(self, note: Note) -> Note | None:
        """Put one aside; the one that is given up for it, if there are too many."""
        self._notes[note.id] = note
        return self._notes.pop(next(iter(self._notes))) if len(self._notes) > MOST else None

    def forget(self, note: Note) -> None:
        """This one is being read, or nobody wants it any more."""
        self._notes.pop(note.id, None)

    def next(self, settled: Callable[[Note], bool]) -> Note | None:
        """The first that is whole or lost, as `settled` finds out; it stays aside until `forget`."""
        return next((note for note in self._notes.values() if settled(note)), None)
