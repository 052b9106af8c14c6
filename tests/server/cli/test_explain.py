"""`study check` says in plain words what the rounds' keys mean."""

from server.cli.explain import explain_rounds
from shared.study import RoundsSpec


def said(**keys: object) -> str:
    return " ".join(explain_rounds(RoundsSpec.model_validate(keys)))


def test_what_is_not_set_is_not_explained() -> None:
    assert said() == ""


def test_the_grace_is_explained() -> None:
    assert "Once 3 counted, the round waits 20 s more" in said(quorum=3, grace_s=20)
