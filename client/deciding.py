"""What a person at the site sees of a study that waits for them, and how their decision is made and signed.

The agent may run meanwhile or not: nothing but the decision's own file is written here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from client.about_site import about_site
from client.approvals import Approvals, Decision
from client.explain import explain
from client.intake import open_message
from client.join import Enrolment, load_enrolment
from client.privacy.budget_file import open_budget
from client.privacy.foresight import foreseen
from client.privacy.price import dearest
from client.settings import FILE_NAME, load_settings
from client.site import approvals_of
from shared.contract import Contract, derive_contract
from shared.errors import ConfigError, TrustError
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.wire import Open


@dataclass(frozen=True)
class Waiting:
    """A study that waits for a person: since when (RFC 3339), in plain words, its contract, and the site's terms."""

    study: str
    since: str
    words: tuple[str, ...]
    contract: Contract
    terms: SiteTerms


class Deciding:
    """The decisions that a person takes in a site's folder.

    Args:
        folder: the site's.
        now: the time as RFC 3339 in UTC.

    Raises:
        ConfigError: the folder is not that of a site that has joined.
    """

    def __init__(self, folder: Path, *, now: Callable[[], str]) -> None:
        self._folder, self._config = folder, folder / FILE_NAME
        self._enrolment: Enrolment = load_enrolment(folder)
        self._approvals: Approvals = approvals_of(folder, self._enrolment)
        self._now = now

    def waiting(self, study: str) -> Waiting:
        """The study as its coordinator signed it, who may have given up the lead since.

        Raises:
            ConfigError: none of that name waits.
            TrustError: what lies there is not the coordinator's.
        """
        asked = self._approvals.asked(study)
        if asked is None:
            raise ConfigError(f"No study {study} waits here.", remedy=f"See `{about_site(self._config, 'status')}`.")
        invitation = self._enrolment.invitation
        coordinators, opening = self._enrolment.coordinators, bytes.fromhex(asked.opening)
        message = open_message(opening, site=invitation.site, coordinator=coordinators.keys)
        if not isinstance(message, Open) or message.study.name != study:
            raise TrustError("What waits is not an opening of that study.", remedy="Restart the site's agent.")
        contract = derive_contract(message, site=invitation.site).under(asked.terms)
        signer = coordinators.signer_of(opening, site=invitation.site)
        words = explain(message, contract, terms=asked.terms, coordinator=signer)
        budget = self._budget(message.study)
        return Waiting(study, asked.since, (*words, *budget), contract, asked.terms)

    def decided(self, waiting: Waiting) -> Decision | None:
        """What was decided about this very contract already; None if nothing was."""
        return self._approvals.decision(waiting.study, waiting.contract.digest())

    def decide(
        self, waiting: Waiting, verdict: Literal["approved", "denied"], *, person: str, reason: str = ""
    ) -> Decision:
        """Sign a decision and lay it where the agent finds it.

        Raises:
            ConfigError: the name or the reason is empty, too long, or has control characters.
        """
        try:
            decision = Decision(
                study=waiting.study,
                study_digest=waiting.contract.study_digest,
                contract=waiting.contract.digest(),
                cohort=waiting.contract.cohort,
                expires=waiting.terms.expires,
                verdict=verdict,
                person=person.strip(),
                decided=self._now(),
                reason=reason,
            )
        except ValidationError:
            raise ConfigError("This cannot stand in a ledger.", remedy="Give a name, and a short reason.") from None
        self._approvals.decide(decision, key=self._enrolment.identity_key)
        return decision

    def _budget(self, study: Study) -> Iterator[str]:
        settings = load_settings(self._config).policy.budget
        return foreseen(study, open_budget(self._folder), settings, price=dearest)
