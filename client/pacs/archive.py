"""What a PACS is to a pull, however it is spoken to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from client.pacs.query import Keys, Level, Series
from shared.errors import LinkError

AGAIN = "Look whether the PACS runs; give the same command again to go on."  # what to do about `Away`


class Away(LinkError):
    """The PACS cannot be reached, or broke off; that may pass."""


class Intake(Protocol):
    """Where instances go."""

    def turn(self) -> None:
        """Wait until one more may come; raises where the pull is to end."""
        ...

    def take(self, instance: str, pieces: Iterable[bytes]) -> bool:
        """Keep one, or say that it is not kept; its pieces may raise `Away`."""
        ...

    def fail(self, instance: str, reason: str) -> None:
        """Say that one does not come, by one word."""
        ...


class Archive(Protocol):
    """A PACS."""

    def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
        """What it has at a level, as it answers; an empty key is asked for, another one must match.

        Raises:
            Away: it did not answer to the end.
            LinkError: it refuses, or its answers make no sense.
        """
        ...

    def fetch(self, series: Series, instances: Sequence[Keys], intake: Intake) -> None:
        """Let instances of a series come, each taken or failed; the answers of `find` name them.

        Raises:
            Away: it broke off; what was taken stays.
            LinkError: it refuses.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...
