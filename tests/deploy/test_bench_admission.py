"""The admission benchmark: each attack is what it says, the verdict is fair, and the promise holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.egress import Egress, Released
from client.site import open_site
from deploy.bench.admission import HONEST, HOSTILE, ROUNDS, judge, missed, run, show
from deploy.bench.attacker import Smuggled, corrupt
from deploy.bench.attacks import ATTACK_IN, Answer, Attack, attack_of, tamper
from deploy.bench.pictures import draw_sites
from deploy.local import LocalFederation
from server.claim import AdmissionReason
from server.record import Record
from server.records import RoundCommitted, UpdateRefused
from shared.address import Address, Stage
from shared.canonical import digest
from shared.console import Answer as Said
from shared.console import envelope
from shared.contract import derive_contract
from shared.envelope import open_envelope
from shared.errors import TrustError
from shared.study import Study
from shared.update import PackedFile, pack, table_of
from shared.wire import TO_SERVER, Counts, Open, Ready, decode_to_server

STATE = {
    "body.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head.bias": np.ones(2, np.float32),
    "seen": np.array(3, np.int64),
}
MODEL = "b" * 64


def answer(number: int, study: str = "attack-nan", state: dict[str, Any] = STATE) -> Answer:
    update = pack({name: values + number if name == "head.bias" else values for name, values in state.items()})
    ready = Ready(
        address=Address(study=study, epoch=1, round=number, attempt=1, stage=Stage.TRAIN),
        model_digest=MODEL,
        update_digest=digest(update),
        update_bytes=len(update),
        uploaded=True,
        replayed=False,
        counts=Counts(examples=5, patients=5, steps=1),
        scores=(),
        seconds={},
    )
    return Answer(ready, update)


def forged(attack: Attack, tmp_path: Path) -> tuple[Answer, dict[str, Any]]:
    honest = answer(ATTACK_IN)
    made = tamper(attack, honest, state=dict(STATE), first=answer(1))
    (tmp_path / "forged").write_bytes(made.update)
    return made, dict(PackedFile(tmp_path / "forged").items())


@pytest.mark.parametrize("attack", Attack)
def test_an_attack_announces_the_bytes_that_it_sends(attack: Attack, tmp_path: Path) -> None:
    made, _ = forged(attack, tmp_path)
    assert (made.ready.update_digest, made.ready.update_bytes) == (digest(made.update), len(made.update))
    assert attack_of(attack.study) is attack


def test_each_attack_breaks_one_thing(tmp_path: Path) -> None:
    states = {attack: forged(attack, tmp_path)[1] for attack in Attack}
    assert np.isnan(states[Attack.NAN]["body.weight"]).sum() == 1
    assert states[Attack.SHAPE]["body.weight"].shape == (6,)
    assert states[Attack.MISSING].keys() == {"head.bias", "seen"}
    assert states[Attack.EXTRA].keys() == {*STATE, "own"}
    assert (states[Attack.NORM]["body.weight"] == 1000 * STATE["body.weight"]).all()
    assert states[Attack.NORM]["seen"] == 3
    assert not np.isnan(STATE["body.weight"]).any()  # the honest update is as it was


def test_attacks_on_the_body(tmp_path: Path) -> None:
    honest, first = answer(ATTACK_IN), answer(1)
    assert forged(Attack.NEGATIVE_COUNT, tmp_path)[0].ready.counts.examples == -5
    replay = forged(Attack.REPLAY, tmp_path)[0]
    assert (replay.update, replay.ready.address) == (first.update, honest.ready.address)
    assert forged(Attack.FOREIGN_ROUND, tmp_path)[0] == first
    assert forged(Attack.BAD_SIGNATURE, tmp_path)[0] == honest


def test_other_studies_are_left_alone() -> None:
    assert attack_of("lungs") is None


# ------------------------------------------------------------------ the hostile door


@pytest.fixture
def doors(tmp_path: Path) -> Any:
    """One site of a provisioned federation twice: as it is, and with a hostile door."""
    federation = LocalFederation(tmp_path / "bed", draw_sites(tmp_path, {"west": 8}, seed=0))
    folder = federation.sites["west"]
    site = open_site(folder, say=lambda line: None)
    yield site, corrupt(site)
    site.ledger.close()


def contract(study: str) -> Any:
    described = Study.model_validate(
        {
            "study": {"name": study},
            "task": {"classes": ["spot"]},
            "training": {"steps_per_round": 1},
            "rounds": {"count": ROUNDS},
        }
    )
    place = Address(study=study, epoch=1, round=0, attempt=1, stage=Stage.OPEN)
    return derive_contract(Open(address=place, study=described, tensors=table_of(STATE), cohort=("west",)), site="west")


def let_out(door: Egress, said: Answer, tmp_path: Path) -> Released | Smuggled:
    payload = tmp_path / f"round-{said.ready.address.round}"
    payload.write_bytes(said.update)
    return door.release(said.ready, contract=contract(said.ready.address.study), payload=payload)


def read(site: Any, out: Released | Smuggled) -> Any:
    keys = {"west": site.egress._key.public_key()}
    return decode_to_server(open_envelope(out.envelope, keys=keys, purpose=TO_SERVER).body)


def test_the_hostile_door_is_honest_but_for_the_round_of_the_attack(doors: Any, tmp_path: Path) -> None:
    site, hostile = doors
    assert isinstance(let_out(hostile.egress, answer(1), tmp_path), Released)
    entries = site.ledger.count
    out = let_out(hostile.egress, answer(ATTACK_IN), tmp_path)
    assert isinstance(out, Smuggled)
    assert site.ledger.count == entries  # it does not confess
    assert read(site, out).update_digest == digest(out.payload.read_bytes())
    assert isinstance(let_out(hostile.egress, answer(3), tmp_path), Released)
    assert isinstance(let_out(hostile.egress, answer(ATTACK_IN, "lungs"), tmp_path), Released)


def test_the_false_signature_does_not_open(doors: Any, tmp_path: Path) -> None:
    site, hostile = doors
    let_out(hostile.egress, answer(1, Attack.BAD_SIGNATURE.study), tmp_path)
    out = let_out(hostile.egress, answer(ATTACK_IN, Attack.BAD_SIGNATURE.study), tmp_path)
    with pytest.raises(TrustError):
        read(site, out)


def test_the_old_answer_is_signed_for_its_old_round(doors: Any, tmp_path: Path) -> None:
    site, hostile = doors
    first = let_out(hostile.egress, answer(1, Attack.FOREIGN_ROUND.study), tmp_path)
    out = let_out(hostile.egress, answer(ATTACK_IN, Attack.FOREIGN_ROUND.study), tmp_path)
    assert out.envelope == first.envelope
    assert read(site, out).address.round == 1


# ------------------------------------------------------------------ verdict


def committed(number: int, *, hostile: bool) -> RoundCommitted:
    return RoundCommitted(
        round=number,
        epoch=1,
        model_digest=MODEL,
        previous_digest=MODEL,
        counted=(*HONEST, HOSTILE) if hostile else HONEST,
        refused={} if hostile else {HOSTILE: "norm"},
    )


def refused(reason: AdmissionReason = AdmissionReason.NORM, *, site: str = HOSTILE, number: int = ATTACK_IN) -> Record:
    return UpdateRefused(round=number, site=site, reasons=(reason,), detail="why")


GOOD = [refused(), *(committed(number, hostile=number != ATTACK_IN) for number in range(1, ROUNDS + 1))]


def verdict(*records: Record, finished: bool = True) -> dict[str, Any]:
    return judge(Attack.NORM, records, finished=finished)


def test_an_attack_that_was_caught() -> None:
    found = verdict(*GOOD)
    assert (found["refused"], found["journalled"], found["study_completed"]) == (True, True, True)
    assert (found["reason"], found["wrongly_refused"]) == ("norm", 0)


def test_an_attack_that_counted_is_seen() -> None:
    found = verdict(*(committed(number, hostile=True) for number in range(1, ROUNDS + 1)))
    assert (found["refused"], found["journalled"], found["study_completed"]) == (False, False, False)


def test_the_right_reason_is_part_of_the_promise() -> None:
    found = verdict(refused(AdmissionReason.SHAPE), *GOOD[1:])
    assert (found["refused"], found["journalled"], found["reason"]) == (True, False, "shape")


@pytest.mark.parametrize(
    ("records", "finished"),
    [(GOOD, False), (GOOD[:-1], True), ([*GOOD[:-1], committed(ROUNDS, hostile=False)], True)],
    ids=["failed", "a round short", "still shut out when honest again"],
)
def test_a_study_that_was_harmed_did_not_complete(records: list[Record], finished: bool) -> None:
    assert not verdict(*records, finished=finished)["study_completed"]


def test_refusing_the_honest_is_counted() -> None:
    assert verdict(*GOOD, refused(site="east"), refused(number=3))["wrongly_refused"] == 2


def test_every_broken_promise_is_named() -> None:
    good = verdict(*GOOD) | {"weights_sha256": "a", "seconds": 1.0}
    data = {"cases": [good], "models_agree": True, "orphans": 0}
    assert list(missed(data)) == []
    bad = good | {"refused": False, "journalled": False, "study_completed": False, "wrongly_refused": 1}
    assert len(list(missed({"cases": [good, bad], "models_agree": False, "orphans": 1}))) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_attack_counts_and_every_study_goes_on() -> None:
    found = run()
    assert list(missed(found)) == []
    assert [c["case"] for c in found["cases"]] == [attack.value for attack in Attack]
    assert all(c["refused"] and c["journalled"] and c["study_completed"] for c in found["cases"])
    assert {c["case"]: c["reason"] for c in found["cases"]} == {a.value: a.reason.value for a in Attack}
    assert found["models_agree"]
    assert found["orphans"] == 0
    assert envelope("bench.admission", Said(found, show(found)))
