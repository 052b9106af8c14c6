"""What a budget says, for people and programs at the site: studies, and how many patients came how far."""

from itertools import pairwise
from math import inf
from typing import Any

from client.privacy.budget import Account, Budget, times, together
from client.privacy.budget_settings import BudgetSettings
from client.privacy.price import dearest

LEVELS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, inf)  # of epsilon


def standing(budget: Budget, settings: BudgetSettings) -> dict[str, Any]:
    """What a budget says, for a program; no patient in it."""
    delta, most = settings.delta_among(budget.patients), settings.lifetime_epsilon
    paid = [(dearest([past], delta), count) for past, count in budget.pasts().items()]
    everyone = dearest([budget.everyone], delta)
    largest = max((epsilon for epsilon, _ in paid), default=everyone)
    return {
        "lifetime_epsilon": most,
        "delta": delta,
        "patients": budget.patients,
        "everyone_epsilon": everyone,
        "largest_epsilon": largest,
        "left": None if most is None else max(most - largest, 0.0),
        "levels": [
            {"above": low, "to": _end(high), "patients": sum(n for epsilon, n in paid if low < epsilon <= high)}
            for low, high in pairwise(LEVELS)
        ],
        "studies": [{"study": name} | _told(account, delta) for name, account in budget.accounts.items()],
    }


def _end(level: float) -> float | None:
    return level if level < inf else None  # JSON has no infinity


def _told(account: Account, delta: float) -> dict[str, Any]:
    rounds = account.charged + account.reserved
    cost = dearest([together([times(account.mechanism, rounds)])], delta) if rounds else 0.0
    said = account.model_dump(include={"open", "reserved", "charged", "returned"})
    return {**said, "mechanism": account.mechanism.model_dump(), "epsilon": cost}
