import numpy as np
import pytest
import torch

from shared.randomness import PrivateRandom, StudyRandom


def draws(random: StudyRandom) -> list[int]:
    return random.generator().integers(0, 2**62, 4).tolist()


def test_same_seed_and_scope_give_the_same_numbers() -> None:
    assert draws(StudyRandom(7, "order", 1, "site-a", 0)) == draws(StudyRandom(7, "order", 1, "site-a", 0))


def test_a_generator_starts_anew_at_each_call() -> None:
    random = StudyRandom(7, "order")
    assert draws(random) == draws(random)


def test_the_first_numbers_never_change_between_versions() -> None:
    assert StudyRandom(0, "order", 1).integer() == 2444855298154553158
    assert StudyRandom(0, "order", 1).generator().random() == 0.8016498768210889


@pytest.mark.parametrize(
    "other",
    [
        StudyRandom(8, "order", 1, "site-a"),
        StudyRandom(7, "augment", 1, "site-a"),
        StudyRandom(7, "order", 2, "site-a"),
        StudyRandom(7, "order", 1, "site-b"),
        StudyRandom(7, "order", "1", "site-a"),
        StudyRandom(7, "order", 1, "site-a", 0),
        StudyRandom(7, "order", "1site-a"),
    ],
)
def test_another_place_gives_other_numbers(other: StudyRandom) -> None:
    here = StudyRandom(7, "order", 1, "site-a")
    assert draws(here) != draws(other)
    assert here.integer() != other.integer()


def test_a_child_is_the_longer_scope() -> None:
    assert draws(StudyRandom(7, "order").child(1, "site-a")) == draws(StudyRandom(7, "order", 1, "site-a"))


def test_torch_follows_the_scope_and_leaves_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    first = torch.rand(3, generator=StudyRandom(1, "x").torch_generator())
    again = torch.rand(3, generator=StudyRandom(1, "x").torch_generator())
    other = torch.rand(3, generator=StudyRandom(1, "y").torch_generator())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_scope_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError):
        StudyRandom(2**60, "order")


def test_private_randomness_never_repeats() -> None:
    assert PrivateRandom().bytes(32) != PrivateRandom().bytes(32)
    private = PrivateRandom()
    assert private.generator().random() != private.generator().random()


def test_private_randomness_ignores_every_seed_around_it() -> None:
    np.random.seed(0)
    first = PrivateRandom().generator().random()
    np.random.seed(0)
    assert PrivateRandom().generator().random() != first


def test_private_randomness_takes_no_seed_and_nothing_from_a_study() -> None:
    with pytest.raises(TypeError):
        PrivateRandom(7)  # type: ignore[call-arg]
    assert not issubclass(StudyRandom, PrivateRandom)
    assert not issubclass(PrivateRandom, StudyRandom)
    assert not hasattr(StudyRandom(7), "bytes")
    assert not hasattr(PrivateRandom(), "child")


def test_only_the_constructor_named_for_tests_is_predictable() -> None:
    one, two = PrivateRandom.seeded_for_tests(3), PrivateRandom.seeded_for_tests(3)
    assert one.bytes(16) == two.bytes(16)
    assert one.generator().random() == two.generator().random()
    assert one.bytes(16) != PrivateRandom.seeded_for_tests(4).bytes(16)
