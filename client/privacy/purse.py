"""Who pays for private training at a site, when: each change stands on the disk before the data are touched.

- Opening a private study reserves its rounds for every patient that would train (`reserve`).
- A round is charged before the worker is given it, and again before another worker is (`charge`).
- Closing the study gives back what did not begin (`give_back`).

Where a patient would come above the site's limit, or the budget is not in step with the ledger, the answer is a
refusal, and the site's console says why. What a change is, `client/privacy/budget.py` decides; when the file is
believed, `client/privacy/budget_file.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from client.privacy.budget import Account, Budget
from client.privacy.budget_file import CHARGED, RESERVED, RETURNED, Kept, open_budget
from client.privacy.budget_settings import BudgetSettings
from client.privacy.claims import Claim, is_dismissed, note_claim
from client.privacy.price import Price
from client.privacy.training_patients import TrainingPatients
from client.receipts import LEDGER_FILE
from shared.errors import Refusal, ResourceError, WireCode
from shared.ledger import Ledger
from shared.privacy import History
from shared.private_training import mechanism_of
from shared.remarks import remark, trouble
from shared.study import Study


class Purse:
    """The budget of one running site.

    Args:
        folder: the site's.
        ledger: the site's, which lies there.
        settings: the limit.
        price: the highest epsilon of histories at a delta.
        now: the time, RFC 3339 in UTC.
        say: prints a line on the site's console.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        settings: BudgetSettings,
        *,
        price: Price,
        now: Callable[[], str],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._file, self._training = folder, open_budget(folder), TrainingPatients(folder)
        self._ledger, self._settings, self._price = ledger, settings, price
        self._now, self._say = now, say
        self._kept: Kept | None = None  # read when it is first asked for: most studies are not private

    def catch_up(self) -> None:
        """Let the ledger say what the budget's file is ahead by.

        Raises:
            DiskFull: it cannot be written down.
        """
        self._file.catch_up(self._ledger, time=self._now())

    def reserve(self, study: Study) -> None:
        """Put all rounds that a study may still ask for aside, if it is private.

        Raises:
            Refusal: `OVER_BUDGET`, or `BUDGET_STALE`.
            DiskFull: it cannot be written down.
        """
        mechanism = mechanism_of(study.privacy, study.training)
        if mechanism is None:
            return
        kept, training, digest = self._in_step(), self._training.offered(study.digest()), study.digest()
        new = kept.budget.reserve(study.name, digest, mechanism, rounds=study.rounds.count, training=training)
        cost = self._affordable(new, study.name)
        account = new.accounts[study.name]
        said = {"rounds": account.reserved, "last_round": account.last_round + account.reserved}
        self._change(kept, new, RESERVED, study.name, said | cost)
        before = kept.budget.accounts.get(study.name)
        if before is not None and before.study_digest != digest:
            self._training.forget(before.study_digest)
        self._training.agree(digest, training)

    def charge(self, study: Study, number: int, *, counted: int = 0, answered: bool = False) -> None:
        """Charge a round that is about to begin, if the study is private.

        Args:
            study: the round's.
            number: the round.
            counted: the last round in which this site counted, by the coordinator's word.
            answered: whether this site has a record of that round all the same.

        Raises:
            Refusal: `OVER_BUDGET` or `BUDGET_STALE`; `UNKNOWN_STUDY`, nothing was reserved for it, or not for those
                who would train.
            DiskFull: it cannot be written down.
        """
        mechanism = mechanism_of(study.privacy, study.training)
        if mechanism is None or study.privacy is None:
            return
        kept = self._in_step()
        account = kept.budget.accounts.get(study.name)
        if account is None or not account.open or account.study_digest != study.digest():
            raise Refusal(WireCode.UNKNOWN_STUDY)
        if counted > account.last_round and not answered:
            self._note(Claim(study=study.name, round=counted))
        if kept.budget.training(study.name) != self._training.agreed(account.study_digest):
            raise Refusal(WireCode.UNKNOWN_STUDY)  # a crash as it was opened: it would train others than it charges
        new = kept.budget.charge(study.name, number)
        cost = self._affordable(new, study.name)
        bound = {"clip_norm": study.privacy.clip_norm, "delta": study.privacy.delta}
        self._change(kept, new, CHARGED, study.name, {"round": number} | bound | cost)

    def doubt(self) -> None:
        """Read the file anew before anything is spent: the ledger is behind, or was said to be."""
        self._kept = None

    def give_back(self, study: str) -> None:
        """Give back what a study reserved and did not use; nothing if it has nothing here.

        Raises:
            DiskFull: it cannot be written down.
        """
        try:
            kept = self._in_step()
        except Refusal:  # what cannot be believed gives nothing back
            return
        account = kept.budget.accounts.get(study)
        if account is None or not account.open:
            return
        new = kept.budget.give_back(study)
        self._change(kept, new, RETURNED, study, {"rounds": account.reserved})
        self._training.forget(account.study_digest)

    def _in_step(self) -> Kept:
        if self._kept is None:
            self.catch_up()
            self._kept = self._file.read()
        return self._kept

    def _change(self, kept: Kept, new: Budget, entry: str, study: str, said: dict[str, Any]) -> None:
        self._kept = None  # should a writing fail, the file is read again
        told = _told(study, new.accounts[study]) | said
        changed = kept.model_copy(update={"budget": new})
        self._kept = self._file.change(changed, self._ledger, entry, told, time=self._now())

    def _note(self, claim: Claim) -> None:
        if not is_dismissed(self._folder / LEDGER_FILE, claim):
            note_claim(self._folder, claim)
            self.doubt()
            self._in_step()

    def _affordable(self, budget: Budget, study: str) -> dict[str, float]:
        """What the dearest patient of the study comes to, with all that is reserved."""
        delta, most = self._settings.delta_among(budget.patients), self._settings.lifetime_epsilon
        try:
            epsilon = self._price(budget.pasts(study), delta)
        except ResourceError as error:
            self._say(trouble(error, study=study))
            raise Refusal(WireCode.OVER_BUDGET) from None
        if most is not None and epsilon > most:
            left = max(most - self._price(_without(budget, study), delta), 0.0)
            self._say(
                remark(
                    "policy.budget.lifetime_epsilon = {most:g} refuses {study}: with it, the patient who has paid most"
                    " would come to epsilon {epsilon:.2f}; {left:.2f} is left.",
                    level="warning",
                    most=most,
                    study=study,
                    epsilon=epsilon,
                    left=left,
                )
            )
            raise Refusal(WireCode.OVER_BUDGET, remedy="The line before has the figures.", rule="lifetime_epsilon")
        return {"lifetime_epsilon": epsilon, "lifetime_delta": delta}


def _without(budget: Budget, study: str) -> list[History]:
    """What the study's patients have come to but for what it reserves."""
    account = budget.accounts[study].model_copy(update={"reserved": 0})
    return list(budget.model_copy(update={"accounts": {**budget.accounts, study: account}}).pasts(study))


def _told(study: str, account: Account) -> dict[str, Any]:
    return {"study": study, "study_digest": account.study_digest, **account.mechanism.model_dump()}
