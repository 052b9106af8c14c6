"""The terms that a site adds to its contracts, and whether those of an earlier day still hold.

They hold until their end, and as long as the software and the policy's floors are those that they name: another
wheel, other floors or a later end make another contract, which takes a new opening, and a person's new approval where
the policy asks for one.
"""

from collections.abc import Callable
from datetime import datetime

from client.policy import Policy
from client.software import Software
from shared.errors import Refusal, WireCode
from shared.site_terms import SiteTerms, until

_AGAIN = "The server opens the study here anew, which makes a new contract, if the policy still permits it."


class Terms:
    """What a site agrees under, today.

    Args:
        policy: the site's.
        software: what it runs.
        now: the time, RFC 3339 in UTC.
    """

    def __init__(self, policy: Policy, software: Software, *, now: Callable[[], str]) -> None:
        self._policy, self._now = policy, now
        self._own = {"code": software.code, "wheel": software.wheel, "floors": policy.floors()}

    def fresh(self) -> SiteTerms:
        """Terms that begin now."""
        end = until(datetime.fromisoformat(self._now()), days=self._policy.contract_days)
        return SiteTerms.model_validate(self._own | {"expires": end})

    def hold(self, terms: SiteTerms) -> bool:
        """Whether terms are still those of this site."""
        return self._breach(terms) is None

    def insist(self, terms: SiteTerms) -> None:
        """Say no to what terms of another day stand under.

        Raises:
            Refusal: `CONTRACT_EXPIRED`.
        """
        if breach := self._breach(terms):
            raise Refusal(WireCode.CONTRACT_EXPIRED, remedy=f"{breach} {_AGAIN}")

    def _breach(self, terms: SiteTerms) -> str | None:
        if terms.run_out(self._now()):
            return f"It ran out on {terms.expires}."
        if (terms.code, terms.wheel) != (self._own["code"], self._own["wheel"]):
            return "It was agreed to under other software than this."
        return "It was agreed to under other floors of the policy." if terms.floors != self._own["floors"] else None
