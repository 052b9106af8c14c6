"""The door: what was not agreed leaves nothing behind but a line in the ledger."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import COUNTS, UPDATE, LoneSite, a_score, a_study

from client.egress import Released
from shared.address import UNADDRESSED, Stage
from shared.canonical import digest
from shared.contract import Contract, derive_contract
from shared.errors import Refusal, StaleEpoch, WireCode
from shared.heads import head_of
from shared.update import Array, pack
from shared.wire import Closed, Message, Ready, Refused, Uploaded

MODEL = "a" * 64
FLOATS = np.full((2, 3), 0.5, np.float32)
NUMBER = np.array(4, np.int64)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path_factory.mktemp("site"))
    yield lone
    lone.close()


@pytest.fixture
def contract(site: LoneSite) -> Contract:
    return derive_contract(site.coordinator.open(), site="north")


def ready(site: LoneSite, update: bytes | None = UPDATE, **changes: Any) -> Ready:
    fields: dict[str, Any] = {
        "address": site.coordinator.address(Stage.TRAIN, 1),
        "model_digest": MODEL,
        "update_digest": digest(update) if update is not None else None,
        "update_bytes": len(update or b""),
        "uploaded": update is not None,
        "replayed": False,
        "counts": COUNTS,
        "scores": (),
        "seconds": {},
    }
    return Ready(**(fields | changes))


def refused(site: LoneSite, contract: Contract | None, message: Message, payload: Path | None = None) -> str:
    """Offer a breach at the door; the rule that the ledger then names."""
    before, releases = len(site.entries("release_refused")), len(site.entries("release"))
    with pytest.raises(Refusal) as caught:
        site.site.egress.release(message, contract=contract, payload=payload)
    assert caught.value.wire_code is WireCode.CONTRACT
    assert len(site.entries("release")) == releases
    entries = site.entries("release_refused")
    assert len(entries) == before + 1
    assert entries[-1]["rule"] == caught.value.remedy
    return str(caught.value.remedy)


def test_what_was_agreed_leaves_signed_and_is_written_down_first(
    site: LoneSite, contract: Contract, tmp_path: Path
) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    before = head_of(site.site.ledger)
    released = site.site.egress.release(ready(site), contract=contract, payload=payload)
    assert site.coordinator.read(released.envelope) == ready(site).model_copy(update={"ledger": before})
    assert released.payload == payload
    assert (released.payload_sha256, released.payload_bytes) == (digest(UPDATE), len(UPDATE))
    entry = site.entries("release")[-1]
    assert (entry["kind"], entry["round"], entry["update_digest"]) == ("ready", 1, digest(UPDATE))
    assert entry["bytes"] > len(UPDATE)
    assert (entry["contract"], entry["scored_model"]) == (contract.digest(), MODEL)


# ------------------------------------------------------------ breaches of the message


def test_a_message_of_another_study(site: LoneSite, contract: Contract) -> None:
    site.coordinator.study, lungs = a_study("hearts"), site.coordinator.study
    message = ready(site, None)
    site.coordinator.study = lungs
    assert "another study" in refused(site, contract, message)


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        (Stage.TRAIN, 0), (Stage.TRAIN, 3), (Stage.UPLOAD, 3),
        (Stage.EVALUATE, 1), (Stage.EVALUATE, 2), (Stage.EVALUATE, 4),
    ],
)  # fmt: skip
def test_a_round_beyond_the_agreed_number(site: LoneSite, contract: Contract, stage: Stage, number: int) -> None:
    message = ready(site, None, address=site.coordinator.address(stage, number))
    assert "beyond the agreed number" in refused(site, contract, message)


def test_a_message_that_only_the_server_sends(site: LoneSite, contract: Contract) -> None:
    assert "messages of this type" in refused(site, contract, site.coordinator.work(1))


class Chatty(Closed):
    """A message with a field that nobody agreed to."""

    note: str = "Erika Mustermann"


def test_a_message_that_says_more_than_its_type(site: LoneSite, contract: Contract) -> None:
    message = Chatty(address=site.coordinator.address(Stage.CLOSE, 1), head="0" * 64)
    assert "messages of this type" in refused(site, contract, message)


class ChattyRefused(Refused):
    note: str = "Erika Mustermann"


@pytest.mark.parametrize("kind", [ChattyRefused, Closed])
def test_without_a_contract_nothing_leaves_but_a_plain_refusal(site: LoneSite, kind: type[Message]) -> None:
    extra = {"refusal": WireCode.INTERNAL} if kind is ChattyRefused else {"head": "0" * 64}
    message = kind(address=UNADDRESSED, **extra)
    assert "no contract" in refused(site, None, message)
    plain = Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL)
    assert site.coordinator.read(site.site.egress.release(plain, contract=None).envelope) == plain


def test_a_refusal_may_answer_any_round(site: LoneSite, contract: Contract) -> None:
    message = Refused(address=site.coordinator.address(Stage.TRAIN, 999), refusal=WireCode.CONTRACT)
    assert site.coordinator.read(site.site.egress.release(message, contract=contract).envelope) == message


# ------------------------------------------------------------ breaches of the scores


def changed(site: LoneSite, **changes: Any) -> Any:
    score = a_score(site.coordinator.study, MODEL)
    return score.model_copy(update=changes)


def scores(site: LoneSite, *given: Any, stage: Stage = Stage.EVALUATE) -> Ready:
    return ready(site, None, address=site.coordinator.address(stage, 3 if stage is Stage.EVALUATE else 1), scores=given)


def test_agreed_scores_leave(site: LoneSite, contract: Contract) -> None:
    both = [a_score(site.coordinator.study, MODEL, split=split) for split in ("validation", "test")]
    site.site.egress.release(scores(site, *both), contract=contract)


@pytest.fixture
def choosing(site: LoneSite) -> Contract:
    """Of a study of two rounds, a validation trip (3) and a closing trip (4)."""
    study = a_study(selection={"model": "best"})
    return derive_contract(site.coordinator.open().model_copy(update={"study": study}), site="north")


@pytest.mark.parametrize(
    ("stage", "number"),
    [(Stage.VALIDATE, 2), (Stage.VALIDATE, 4), (Stage.EVALUATE, 3), (Stage.TRAIN, 3), (Stage.CLOSE, 5)],
)
def test_each_trip_has_one_number(site: LoneSite, choosing: Contract, stage: Stage, number: int) -> None:
    message = ready(site, None, address=site.coordinator.address(stage, number))
    assert "beyond the agreed number" in refused(site, choosing, message)


def test_in_a_study_that_takes_the_last_model_there_is_no_validation_trip(site: LoneSite, contract: Contract) -> None:
    for number in (2, 3):
        message = ready(site, None, address=site.coordinator.address(Stage.VALIDATE, number))
        assert "beyond the agreed number" in refused(site, contract, message)


def test_test_patients_are_scored_in_the_closing_trip_alone(site: LoneSite, choosing: Contract) -> None:
    place = {stage: site.coordinator.address(stage, n) for stage, n in ((Stage.VALIDATE, 3), (Stage.EVALUATE, 4))}
    tested, validated = (a_score(site.coordinator.study, MODEL, split=split) for split in ("test", "validation"))
    for given in ((tested,), (validated, tested)):
        breach = ready(site, None, address=place[Stage.VALIDATE], scores=given)
        assert "closing trip alone" in refused(site, choosing, breach)
    site.site.egress.release(ready(site, None, address=place[Stage.VALIDATE], scores=(validated,)), contract=choosing)
    both = ready(site, None, address=place[Stage.EVALUATE], scores=(validated, tested))
    site.site.egress.release(both, contract=choosing)


def test_a_validation_trip_brings_no_update(site: LoneSite, choosing: Contract, tmp_path: Path) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    message = ready(site, address=site.coordinator.address(Stage.VALIDATE, 3))
    assert "only scores brings no update" in refused(site, choosing, message, payload)


@pytest.mark.parametrize("part", ["statistics", "figures"])
def test_a_metric_that_nobody_agreed_to(site: LoneSite, contract: Contract, part: str) -> None:
    extra = {"mustermann": (1,) if part == "statistics" else 1.0}
    breach = changed(site, **{part: getattr(changed(site), part) | extra})
    assert "mustermann is not as agreed" in refused(site, contract, scores(site, breach))


def test_a_statistic_of_another_length(site: LoneSite, contract: Contract) -> None:
    statistics = changed(site).statistics
    breach = changed(site, statistics=statistics | {"loss_millionths": (1, 2)})
    assert "loss_millionths is not as agreed" in refused(site, contract, scores(site, breach))


def test_a_score_that_lacks_a_statistic_and_so_would_not_add_to_others(site: LoneSite, contract: Contract) -> None:
    statistics = changed(site).statistics
    for name in statistics:
        breach = changed(site, statistics={k: v for k, v in statistics.items() if k != name})
        assert f"{name} is missing" in refused(site, contract, scores(site, breach))


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_figure_out_of_its_range(site: LoneSite, contract: Contract, value: float) -> None:
    breach = changed(site, figures={"auroc": value})
    assert "auroc is not as agreed" in refused(site, contract, scores(site, breach))


def test_a_score_about_another_model(site: LoneSite, contract: Contract) -> None:
    assert "another model" in refused(site, contract, scores(site, changed(site, model_digest="b" * 64)))


def test_a_split_scored_twice(site: LoneSite, contract: Contract) -> None:
    assert "scored twice" in refused(site, contract, scores(site, changed(site), changed(site)))


def test_test_patients_before_the_closing_trip(site: LoneSite, contract: Contract) -> None:
    breach = scores(site, changed(site, split="test"), stage=Stage.TRAIN)
    assert "closing trip alone" in refused(site, contract, breach)


# ------------------------------------------------------------ breaches of the update


def states() -> Iterator[tuple[str, dict[str, Array]]]:
    yield "another tensor", {"w": FLOATS, "n": NUMBER, "patients": FLOATS}
    yield "a missing tensor", {"w": FLOATS}
    yield "another dtype", {"w": FLOATS.astype(np.int64), "n": NUMBER}
    yield "another shape", {"w": FLOATS.T.copy(), "n": NUMBER}
    yield "not a number", {"w": FLOATS * np.float32("nan"), "n": NUMBER}
    yield "infinity", {"w": np.full((2, 3), np.inf, np.float32), "n": NUMBER}


BREACHES = {name: pack(state) for name, state in states()} | {
    "no tensor file": b"Erika Mustermann",
    "more bytes than agreed": UPDATE + bytes(1 << 20),
    "bytes after the end": UPDATE + b"Erika Mustermann",
    "cut short": UPDATE[:-1],
}


@pytest.mark.parametrize("update", BREACHES.values(), ids=BREACHES)
def test_an_update_that_is_not_as_agreed(site: LoneSite, contract: Contract, tmp_path: Path, update: bytes) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(update)
    assert refused(site, contract, ready(site, update), payload)


def test_an_update_other_than_announced(site: LoneSite, contract: Contract, tmp_path: Path) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    other = pack({"w": -FLOATS, "n": NUMBER})
    assert "differs" in refused(site, contract, ready(site, other), payload)
    announced = Uploaded(
        address=site.coordinator.address(Stage.UPLOAD, 1), update_digest=digest(UPDATE), update_bytes=len(UPDATE) + 1
    )
    assert "differs" in refused(site, contract, announced, payload)


def test_an_update_beside_a_message_that_carries_none(site: LoneSite, contract: Contract, tmp_path: Path) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    message = Closed(address=site.coordinator.address(Stage.CLOSE, 1), head="0" * 64)
    assert "only a finished round" in refused(site, contract, message, payload)
    assert "no contract" in refused(site, None, Refused(address=UNADDRESSED, refusal=WireCode.INTERNAL), payload)


def test_an_update_in_a_study_that_only_scores(site: LoneSite, tmp_path: Path) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    scoring = a_study(study={"name": "lungs", "kind": "evaluate"}, model={"start_sha256": MODEL}, training=None)
    opening = site.coordinator.open().model_copy(update={"study": scoring})
    contract = derive_contract(opening, site="north")
    message = ready(site, address=site.coordinator.address(Stage.EVALUATE, 1))
    assert "only scores brings no update" in refused(site, contract, message, payload)


def test_an_update_that_is_larger_than_agreed(site: LoneSite, contract: Contract, tmp_path: Path) -> None:
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)
    small = contract.model_copy(update={"payload_bytes": len(UPDATE) - 1})
    assert "larger than agreed" in refused(site, small, ready(site), payload)


# ------------------------------------------------------------ the door itself


def test_only_the_door_makes_what_the_link_takes(site: LoneSite) -> None:
    with pytest.raises(ValueError, match="alone"):
        Released(b"patients", None, None, 0, object())
    plain = Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL)
    released = site.site.egress.release(plain, contract=None)
    with pytest.raises(ValueError, match="InitVar"):
        dataclasses.replace(released, envelope=b"patients")
    with pytest.raises(dataclasses.FrozenInstanceError):
        released.envelope = b"patients"  # type: ignore[misc]
    assert not hasattr(released, "door")


def test_a_ledger_that_cannot_be_written_keeps_the_door_shut(tmp_path: Path) -> None:
    lone = LoneSite(tmp_path)
    with (lone.folder / "ledger.jsonl").open("ab") as file:
        file.write(b"another process")
    with pytest.raises(StaleEpoch):
        lone.site.egress.release(Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL), contract=None)
    lone.close()


# ------------------------------------------------------------ breaches of the form


@pytest.mark.parametrize("value", ["Erika Mustermann", "0.5", float("nan"), float("inf"), ["0.5"]], ids=str)
def test_a_field_that_holds_what_its_type_does_not_allow(site: LoneSite, contract: Contract, value: Any) -> None:
    """Nothing checks a field when a message is copied; the door reads it back before it looks further."""
    spoilt = scores(site, changed(site, figures={"auroc": value}))
    assert "its type does not allow" in refused(site, contract, spoilt)


def test_a_plain_refusal_is_read_back_too(site: LoneSite) -> None:
    plain = Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL)
    assert "its type does not allow" in refused(site, None, plain.model_copy(update={"refusal": "Erika Mustermann"}))
