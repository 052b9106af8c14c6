"""What a private study would bring the patients of a site to, in words, before a person agrees to it.

The arithmetic is that of `client/privacy/purse.py`, which decides when the study is opened. Who will train is not known
before the images are read, so that here everybody does who ever trained, and somebody who never did.
"""

from collections.abc import Iterator

from client.privacy.budget import Budget, unpacked
from client.privacy.budget_file import BudgetFile
from client.privacy.budget_settings import BudgetSettings
from client.privacy.patients import KEYED_BYTES
from client.privacy.price import Price
from shared.errors import Refusal
from shared.private_training import mechanism_of
from shared.study import Study

_SOMEBODY_NEW = bytes(KEYED_BYTES)


def foreseen(study: Study, file: BudgetFile, settings: BudgetSettings, *, price: Price) -> Iterator[str]:
    """Sentences about the site's own budget; none about a study that is not private.

    Args:
        study: as it waits.
        file: the site's budget.
        settings: its limit.
        price: the highest epsilon of histories at a delta.
    """
    mechanism = mechanism_of(study.privacy, study.training)
    if mechanism is None:
        return
    try:
        before = file.read().budget
    except Refusal:
        yield "The site's privacy budget is not in step with its ledger: until it is reconciled, this will be refused."
        return
    everybody = frozenset({_SOMEBODY_NEW}).union(*(unpacked(group.patients) for group in before.groups))
    after = before.reserve(study.name, study.digest(), mechanism, rounds=study.rounds.count, training=everybody)
    yield from _in_words(before, after, study.name, settings, price)


def _in_words(before: Budget, after: Budget, study: str, settings: BudgetSettings, price: Price) -> Iterator[str]:
    most, delta = settings.lifetime_epsilon, settings.delta_among(before.patients)
    paid, then = price([*before.pasts(), before.everyone], delta), price(after.pasts(study), delta)
    least = min(price([past], delta) for past in after.pasts(study))
    whom = "a patient who has paid most here" if before.patients else "a training patient"
    if most is None:
        yield f"It would bring {whom} to an epsilon of {then:.2f} for life; this site has no limit."
        return
    yield f"This site allows a patient an epsilon of {most:g} for life; {max(most - paid, 0.0):.2f} of it is left."
    if then <= most:
        yield f"It would bring {whom} to {then:.2f} of {most:g}."
    elif least > most:
        yield f"It would bring every training patient to {least:.2f} of {most:g} or more: it will be refused."
    else:
        yield f"It would bring {whom} to {then:.2f} of {most:g}: it will be refused, unless no such patient trains."
