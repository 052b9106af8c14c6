"""One sentence of the verdict page, and how far it can be relied upon.

Proven is what follows from the chain, its signatures and what others hold, whoever wrote the ledger. Declared is
what the site alone signs. What stands between them goes to the weaker side.
"""

from dataclasses import dataclass
from typing import Literal

Standing = Literal["proven", "declared", "open", "broken"]
TITLES: dict[Standing, str] = {
    "broken": "Does not hold",
    "proven": "Proven",
    "declared": "Declared by the site alone",
    "open": "Not covered",
}
BELOW: dict[Standing, str] = {
    "broken": "What the evidence contradicts.",
    "proven": "Follows from the entries, their signatures and what other parties hold, whoever wrote them.",
    "declared": "Stands in the ledger under the site's signature; nobody else bears witness to it.",
    "open": "Nothing in this evidence says anything about it.",
}


@dataclass(frozen=True)
class Claim:
    """One sentence, how far it can be relied upon, and the section of the page that carries it, if any."""

    standing: Standing
    text: str
    section: str = ""
