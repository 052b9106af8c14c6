"""One sentence of the verdict page, and how far it can be relied upon.

Proven is what follows from the chain, its signatures and what others hold, whoever wrote the ledger. Declared is
what one side alone signs: the site, or the coordinator. What stands between them goes to the weaker side.
"""

from dataclasses import dataclass
from typing import Literal

Standing = Literal["proven", "declared", "open", "broken"]
TITLES: dict[Standing, str] = {
    "broken": "Does not hold",
    "proven": "Proven",
    "declared": "Declared by one side alone",
    "open": "Not covered",
}
BELOW: dict[Standing, str] = {
    "broken": "What the evidence contradicts.",
    "proven": "Follows from the entries, their signatures and what other parties hold, whoever wrote them.",
    "declared": "Stands under one side's signature, the site's unless it says so; nobody else bears witness.",
    "open": "Nothing in this evidence shows it.",
}


@dataclass(frozen=True)
class Claim:
    """One sentence, how far it can be relied upon, and the section of the page that carries it, if any."""

    standing: Standing
    text: str
    section: str = ""
