"""The rules of the budget: who pays for what, what is put aside, and what comes back."""

import pytest

from client.privacy.budget import Budget, Group, packed, together, unpacked
from client.privacy.budget_settings import BudgetSettings
from shared.privacy import Mechanism

A, B, C, D = (bytes([n]) * 16 for n in range(1, 5))
ROUND = Mechanism(noise_multiplier=1.0, sampling_rate=0.1, images_per_patient=4, steps=10)
NOISIER = ROUND.model_copy(update={"noise_multiplier": 2.0})


def reserve(budget: Budget, study: str, *patients: bytes, rounds: int = 3, mechanism: Mechanism = ROUND) -> Budget:
    return budget.reserve(study, "0" * 64, mechanism, rounds=rounds, training=frozenset(patients))


def steps(budget: Budget) -> dict[bytes, int]:
    """What each patient has paid and has put aside, in steps."""
    found = {}
    for group in budget.groups:
        (past,) = budget.model_copy(update={"groups": (group,)}).pasts()
        found |= dict.fromkeys(unpacked(group.patients), sum(run.steps for run in past))
    return found


def test_opening_puts_all_rounds_aside_for_those_who_train_alone() -> None:
    budget = reserve(reserve(Budget(), "one", A, B), "two", B, C, rounds=2)
    assert steps(budget) == {A: 30, B: 50, C: 20}
    assert [budget.accounts[name].reserved for name in ("one", "two")] == [3, 2]
    assert sum(budget.pasts("two").values()) == 2
    assert budget.patients == 3


def test_a_round_is_paid_from_what_was_put_aside_and_the_rest_comes_back() -> None:
    budget = reserve(Budget(), "one", A).charge("one", 1).charge("one", 2)
    assert steps(budget) == {A: 30}
    budget = budget.give_back("one")
    assert steps(budget) == {A: 20}
    account = budget.accounts["one"]
    assert (account.charged, account.returned, account.reserved, account.open) == (2, 1, 0, False)


def test_a_round_that_begins_once_more_is_one_more() -> None:
    budget = reserve(Budget(), "one", A).charge("one", 1).charge("one", 1)
    assert steps(budget) == {A: 40}
    budget = reserve(Budget(), "short", B, rounds=1).charge("short", 1).charge("short", 2)
    assert steps(budget) == {B: 20}


def test_who_no_longer_trains_pays_for_no_later_round_and_who_came_for_no_earlier_one() -> None:
    budget = reserve(reserve(Budget(), "one", A, B).charge("one", 1), "one", B, C)
    assert budget.accounts["one"].reserved == 2
    assert steps(budget) == {A: 10, B: 30, C: 20}
    assert steps(budget.charge("one", 2).charge("one", 3)) == {A: 10, B: 30, C: 20}


def test_a_study_that_was_made_longer_puts_aside_what_is_still_to_come() -> None:
    budget = reserve(reserve(Budget(), "one", A).charge("one", 1).give_back("one"), "one", A, rounds=5)
    assert steps(budget) == {A: 50}


def test_what_everyone_paid_counts_for_each() -> None:
    budget = reserve(Budget(everyone=(NOISIER,)), "one", A)
    assert list(budget.pasts()) == [together([NOISIER, *(ROUND,) * 3])]


def test_patients_with_the_same_past_are_one_group() -> None:
    crowd = [n.to_bytes(16) for n in range(1000)]
    budget = reserve(Budget(), "one", *crowd)
    assert len(budget.groups) == 1
    budget = reserve(budget.charge("one", 1), "two", *crowd[:10])
    assert sorted(group.count for group in budget.groups) == [10, 990]
    assert len(reserve(budget.give_back("two"), "three", *crowd).groups) == 1
    assert Budget.model_validate_json(budget.model_dump_json()) == budget


def test_one_history_whatever_the_order() -> None:
    assert together([ROUND, NOISIER, ROUND]) == together([NOISIER, ROUND, ROUND])
    assert [run.steps for run in together([ROUND, NOISIER, ROUND])] == [20, 10]


def test_half_a_hash_is_refused() -> None:
    assert unpacked(packed({A, B})) == {A, B}
    assert Group(patients=packed({A, B})).count == 2
    with pytest.raises(ValueError, match="whole number"):
        unpacked(b"\0" * 17)


@pytest.mark.parametrize(("patients", "delta"), [(0, 1e-6), (10**5, 1e-6), (10**6, 1e-7)])
def test_the_delta_follows_the_number_of_patients_unless_it_is_given(patients: int, delta: float) -> None:
    assert BudgetSettings().delta_among(patients) == pytest.approx(delta)
    assert BudgetSettings(delta=1e-5).delta_among(patients) == 1e-5
