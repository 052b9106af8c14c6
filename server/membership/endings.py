"""What of a federation ends when, and what to do before: the server's certificate, the authority, each site.

Said 30, 7 and 1 days ahead (`shared/certificates.py`), and by `wardround federation status` at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.federation import Federation
from shared.certificates import DAY_S, ends_at, warned_at
from shared.command_line import typed
from shared.remarks import remark


@dataclass(frozen=True)
class Ending:
    """Something that ends.

    Attributes:
        name: `server certificate`, `authority`, or a site's.
        what: how a sentence calls it.
        at: Unix seconds.
        command: what renews it.
        of_site: whether it is a site's.
    """

    name: str
    what: str
    at: float
    command: str
    of_site: bool = False

    def warning(self, now: float) -> str | None:
        """A sentence, if the end is near or past."""
        left_s = self.at - now
        if (days := warned_at(left_s)) is None:
            return None
        when = "has ended" if left_s <= 0 else f"ends in {left_s / DAY_S:.0f} days" if days > 1 else "ends within a day"
        sentence = "{what} {when}. Run `{command}`."
        about = {"site": self.name} if self.of_site else {"code": self.name.replace(" ", "_")}
        return remark(sentence, level="warning", what=self.what, when=when, command=self.command, **about)


def endings(federation: Federation) -> Iterator[Ending]:
    """Everything that ends; what cannot be read is left out."""
    folder = federation.folder
    for name, what, path, words in (
        ("server certificate", "The server's certificate", federation.server_certificate, ()),
        ("authority", "The federation's authority", federation.ca_certificate, ("--authority",)),
    ):
        if (at := _end_of(path)) is not None:
            yield Ending(name, what, at, typed("federation", "renew", folder, *words))
    for entry in federation.roster.entries:
        command = typed("federation", "renew", folder, "--site", entry.site)
        yield Ending(entry.site, f"The place of {entry.site} on the roster", entry.not_after, command, of_site=True)


def _end_of(path: Path) -> float | None:
    try:
        return ends_at(path.read_bytes())
    except (OSError, ValueError):
        return None
