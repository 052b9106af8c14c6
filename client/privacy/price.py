"""What histories cost, asked of a process of its own: the accountant would double the agent's memory for good.

`python -m client.privacy.price` reads a `Bill` on its standard input and writes the epsilons to its standard output.
How they are computed is `shared/privacy.py`'s matter. A bill that cannot be priced is an error, never a low price.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable

from pydantic import TypeAdapter, ValidationError

from shared.errors import ResourceError
from shared.privacy import History, epsilon_of
from shared.section import Section

LONGEST_S = 300.0
Price = Callable[[Iterable[History], float], float]
_EPSILONS: TypeAdapter[list[float]] = TypeAdapter(list[float])


class Bill(Section):
    """Histories, and the delta at which each is composed."""

    histories: tuple[History, ...]
    delta: float


def dearest(histories: Iterable[History], delta: float) -> float:
    """The highest epsilon of these histories at delta, computed in this process; 0 of none."""
    return max((epsilon_of(history, delta=delta) for history in histories), default=0.0)


class PriceList:
    """As `dearest`, but computed in another process, and each history once.

    Raises:
        ResourceError: the process gave no prices.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[History, float], float] = {}

    def __call__(self, histories: Iterable[History], delta: float) -> float:
        """The highest epsilon of these histories."""
        asked = tuple(histories)
        if unknown := tuple(history for history in asked if (history, delta) not in self._known):
            prices = _asked(Bill(histories=unknown, delta=delta))
            self._known |= {(history, delta): price for history, price in zip(unknown, prices, strict=True)}
        return max((self._known[history, delta] for history in asked), default=0.0)


def _asked(bill: Bill) -> list[float]:
    command = (sys.executable, "-P", "-m", "client.privacy.price")
    try:
        done = subprocess.run(
            command, input=bill.model_dump_json().encode(), capture_output=True, check=True, timeout=LONGEST_S
        )
        return _EPSILONS.validate_json(done.stdout)
    except (OSError, subprocess.SubprocessError, ValidationError):
        raise ResourceError(
            "The cost of a private study could not be computed.",
            remedy="Check that the package dp-accounting is installed, and that there is memory.",
        ) from None


def main() -> None:
    """Price the bill on standard input."""
    bill = Bill.model_validate_json(sys.stdin.buffer.read())
    prices = [epsilon_of(history, delta=bill.delta) for history in bill.histories]
    sys.stdout.buffer.write(_EPSILONS.dump_json(prices))


if __name__ == "__main__":
    main()
