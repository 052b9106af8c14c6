"""A site follows the lead to another coordinator, in the middle of a study, and nobody who gave it up."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lone_site import START, LoneSite, a_study

from client.coordinators import FILE_NAME
from client.deciding import Deciding
from client.evidence import export_ledger
from client.join import load_enrolment
from client.line.parcels import Parcel
from client.waiting_entries import keep_entry
from shared.amendment import Amendment, Terms, sign_amendment, with_terms
from shared.canonical import digest
from shared.chain import verify
from shared.clock import utc_now
from shared.keys import identity_hex, make_identity_key
from shared.ledger import read_lines
from shared.mandate import FIRST, Coordinator, Mandate, SignedMandate, Succession, carry, read_succession, sign_mandate
from shared.wire import Message

NEXT = START.replace(b"\x00\x00\xa0@", b"\x00\x00\xb0@")  # 5.0 -> 5.5: another model of the same table


class Two:
    """A site, its first coordinator, a second, and whoever speaks now, with the mandates in front of each message."""

    def __init__(self, root: Path) -> None:
        self.site = LoneSite(root)
        self.say = self.site.coordinator
        self.ann: Ed25519PrivateKey = self.say._key
        self.ben, self.cyd = make_identity_key(), make_identity_key()
        self.keys = {"ann": self.ann, "ben": self.ben, "cyd": self.cyd}
        self.named = self.mandate(None, "ann", "ben")
        self.handed = self.mandate(self.named, "ben", by="ann")
        self.whole = Succession((self.named, self.handed))

    def coordinator(self, name: str) -> Coordinator:
        return Coordinator(name=name, key=identity_hex(self.keys[name].public_key()))

    def mandate(self, before: SignedMandate | None, lead: str, *others: str, by: str = "ann") -> SignedMandate:
        said = Mandate(
            federation="ward",
            number=before.number + 1 if before else 1,
            previous=before.digest() if before else FIRST,
            issued=1_800_000_000,
            lead=lead,
            coordinators=tuple(self.coordinator(name) for name in sorted((lead, *others))),
        )
        signed = sign_mandate(said, key=self.keys[by])
        return signed.accepted(self.keys[lead]) if before is not None and lead != before.lead else signed

    def told(self, message: Message, by: Ed25519PrivateKey, mandates: Any = None, *, model: bytes = START) -> Parcel:
        """A message as somebody signs it, with mandates in front."""
        parcel = self.say.parcel(message, key=by)
        parcel = Parcel(parcel.id, carry(mandates, parcel.envelope), parcel.payload_bytes, (), None)  # type: ignore[arg-type]
        self.site.line.payloads[parcel.id] = model
        self.site.line.kept[parcel.id] = parcel
        self.site.answering.receive(parcel)
        return parcel

    def hand_over(self) -> None:
        self.say._key, self.say.epoch = self.ben, self.say.epoch + 1


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    yield made
    made.site.close()


def test_a_running_study_goes_on_under_the_second_and_the_first_is_obeyed_no_more(two: Two) -> None:
    site, say = two.site, two.say
    site.open()
    site.tell(say.work(1))
    site.finish()
    two.hand_over()
    second = say.work(2, NEXT, previous_digest=digest(START), receipts=(say.receipt(1),))
    two.told(second, two.ben, two.whole, model=NEXT)
    site.finish()
    assert [answer.type for answer in site.answers] == ["opened", "ready", "ready"]
    followed = site.entries("mandate_followed")
    assert [(entry["number"], entry["lead"], entry["others"]) for entry in followed] == [(2, "ben", [])]
    assert followed[0]["fingerprint"] == two.handed.leader().fingerprint()
    assert any("coordinated by ben now" in said for said in site.said)
    late = two.told(say.work(3, NEXT), two.ann, two.whole)
    assert late.id in site.line.dropped
    assert "signed by ann, who gave up the lead on 2027-01-15" in site.said[-1]
    assert "by mandate 2" in site.said[-1]
    assert site.entries("message_discarded") == [{"code": "trust"}]
    assert len(site.answers) == 3


def test_what_was_followed_outlives_a_restart_and_an_older_mandate_brings_nobody_back(two: Two) -> None:
    site, say = two.site, two.say
    site.open()
    two.hand_over()
    two.told(say.work(1), two.ben, two.whole)
    site.finish()
    site.start()
    assert site.site.coordinator == two.ben.public_key()
    replayed = two.told(say.work(2), two.ann, Succession((two.named,)))
    assert replayed.id in site.line.dropped
    assert [entry["code"] for entry in site.entries("mandate_refused")] == ["trust"]
    assert any("number 2 was seen" in said for said in site.said)
    assert site.site.coordinator == two.ben.public_key()


def test_two_mandates_of_one_number_are_said_and_the_first_holds(two: Two) -> None:
    site = two.site
    site.open()
    two.hand_over()
    two.told(two.say.work(1), two.ben, two.whole)
    site.finish()
    fork = Succession((two.named, two.mandate(two.named, "cyd", by="ann")))
    assert two.told(two.say.work(2), two.cyd, fork).id in site.line.dropped
    assert any("two mandates of number 2" in said for said in site.said)
    assert site.site.coordinator == two.ben.public_key()
    assert len(site.entries("mandate_followed")) == 1


def test_one_who_is_named_or_nobody_at_all_speaks_for_no_federation(two: Two) -> None:
    site = two.site
    stolen = two.told(two.say.open(), two.ben, Succession((two.named,)))  # the second's key, before a hand-over
    forged = two.mandate(two.named, "ben", by="ben")
    alone = two.told(two.say.open(), two.ben, Succession((two.named, forged)))
    strange = two.told(two.say.open(), two.cyd, None)
    assert [one.id for one in (stolen, alone, strange)] == site.line.dropped
    assert site.answers == []
    assert [entry["number"] for entry in site.entries("mandate_followed")] == [1]
    assert site.site.coordinator == two.ann.public_key()


def test_mandates_that_nobody_can_read_cost_the_message_alone_nothing(two: Two) -> None:
    parcel = two.say.parcel(two.say.open())
    broken = carry(two.whole, parcel.envelope).replace(b'"issued"', b'"isssed"')
    two.site.answering.receive(Parcel(parcel.id, broken, 0, (), None))  # type: ignore[arg-type]
    two.site.finish()
    assert [answer.type for answer in two.site.answers] == ["opened"]
    cut = two.say.parcel(two.say.open(attempt=2))
    two.site.answering.receive(Parcel(cut.id, carry(two.whole, b"")[:-3], 0, (), None))  # type: ignore[arg-type]
    assert cut.id in two.site.line.dropped


def test_amendments_and_what_waits_for_a_person_stay_the_first_ones(two: Two) -> None:
    site, say, before = two.site, two.say, a_study()
    terms = Terms(rounds=3, deadline_s=before.rounds.deadline_s)
    was = {"original": before.digest(), "previous": before.digest(), "before": Terms.of(before)}
    step = Amendment(study="lungs", number=1, after=terms, **was)
    site.open()
    sealed = sign_amendment(step, key=two.ann)
    two.hand_over()
    say.study = with_terms(before, terms)
    two.told(say.open(attempt=2).model_copy(update={"amendments": (sealed,)}), two.ben, two.whole)
    site.finish()
    assert [answer.type for answer in site.answers] == ["opened", "opened"]
    by = [entry["coordinator"] for entry in site.entries("contract")]
    assert by == [two.named.leader().fingerprint(), two.handed.leader().fingerprint()]


def test_an_auditor_gets_the_mandates_with_the_ledger(two: Two, tmp_path: Path) -> None:
    two.site.open()
    two.hand_over()
    two.told(two.say.work(1), two.ben, two.whole)
    given = export_ledger(two.site.folder, tmp_path / "evidence")
    file = tmp_path / "evidence" / f"north-{FILE_NAME}"
    assert file in given.files
    assert read_succession(file.read_bytes()) == two.whole
    key = load_enrolment(two.site.folder).identity_key.public_key()
    assert verify(read_lines(tmp_path / "evidence" / "north-ledger.jsonl"), public_key=key, signer="north").ok


def test_an_opening_that_waits_is_shown_with_the_key_that_signed_it(two: Two) -> None:
    two.site.set_policy(studies="ask")
    two.site.tell(two.say.open())
    load_enrolment(two.site.folder).coordinators.take(two.whole.encode(), note=lambda *_: None)
    words = Deciding(two.site.folder, now=utc_now).waiting("lungs").words
    assert two.named.leader().fingerprint() in words[0]
    assert two.handed.leader().fingerprint() not in words[0]


def test_what_a_command_followed_beside_the_agent_is_not_taken_back(two: Two) -> None:
    onward = Succession((*two.whole.mandates, two.mandate(two.handed, "cyd", by="ben")))
    known = load_enrolment(two.site.folder).coordinators
    assert known.take(onward.encode(), note=partial(keep_entry, two.site.folder)) == onward
    late = two.told(two.say.open(), two.ben, two.whole)
    assert late.id in two.site.line.dropped
    assert any("number 3 was seen" in said for said in two.site.said)
    assert read_succession((two.site.folder / FILE_NAME).read_bytes()) == onward
    assert two.site.site.coordinator == two.cyd.public_key()
