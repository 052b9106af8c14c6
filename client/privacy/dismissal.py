"""A person at the site says that what the coordinator claims of its past is false: that is written down, not charged.

1. The agent is stopped.
2. Budget and ledger are in step but for the claims. If they are not, something was restored or cut here after all.
3. What is open is what that person was shown.
4. Each open claim stands in an entry `claim_dismissed`, with who dismissed it and why, under a head that is signed at
   once: whoever holds the other side's word can hold it against this one.

The budget is believed again then. A message that names a dismissed head stays refused, for its sender errs or lies.
"""

from collections.abc import Sequence
from pathlib import Path

from client.privacy.budget_file import open_budget
from client.privacy.claims import DISMISSED, Claim, forget_claims, open_claims
from client.stopped import stopped_ledger
from shared.errors import ConfigError


def dismiss(folder: Path, claims: Sequence[Claim], *, by: str, why: str, now: str) -> None:
    """Dismiss all that the coordinator claims and nobody has settled, at a site whose agent is stopped.

    Args:
        folder: the site's.
        claims: what `by` was shown, as `open_claims` gave it.
        by: who does it.
        why: how that person knows, in words.
        now: RFC 3339, UTC.

    Raises:
        ConfigError: rule 3; nothing was dismissed.
        Refusal: `BUDGET_STALE`, rule 2.
        ResourceError: the agent runs.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    file = open_budget(folder)
    with stopped_ledger(folder, now=now) as ledger:
        file.in_step()
        if open_claims(folder) != list(claims):
            raise ConfigError(
                "The coordinator claims something else than was shown; nothing is dismissed.",
                remedy="Dismiss it again, and read what is claimed now.",
            )
        for claim in claims:
            ledger.append(DISMISSED, claim.told() | {"by": by, "why": why}, time=now)
        if claims:
            ledger.sign_head(time=now)
        forget_claims(folder)
