"""What a site makes of the heads and receipts that a round message brings.

A message is believed only if, in this order,

1. each receipt is the coordinator's statement to this site about this study, signed for itself;
2. the head that it holds of this site is proven to be under the root of all sites' heads;
3. that head, and the one in each receipt, is an entry of the ledger here, or of its end that was declared lost
   before the coordinator knew of that (`client/privacy/lost_tail.py`).

Else the message is refused and the ledger says why (`client/seldom.py`): a server that names a head which this ledger
never had errs or lies, or the ledger was rolled back. What breaks rule 3 alone is kept, receipts and heads: the privacy
budget is not believed until a person has said whether it is true (`client/privacy/claims.py`); unless it contradicts a
receipt of the same study, and so cannot be. A message that names no head of this site is written down, and said on the
console, and goes on. The root is written into the ledger once for every change, with what other sites have declared
lost, and the receipts are kept beside the ledger.
"""

from client.privacy.claims import SETTLE, Claim, is_dismissed, note_claim, vouched
from client.receipts import LEDGER_FILE, keep_receipts
from client.site import Site
from shared.errors import Refusal, WireCode
from shared.heads import Head, Held
from shared.receipt import Receipt
from shared.remarks import remark
from shared.wire import Close, FromServer, Work

_SETTLE = f"{SETTLE} In the second case show this to the coordinator first."
_ERRS = "Nothing that was restored here explains it: show this to the coordinator."


class HeadCheck:
    """Holds what one site is told against its ledger.

    Args:
        site: the parts to work with.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._told: dict[str, tuple[str | None, object]] = {}  # by study, the root and losses written down last

    def take(self, message: FromServer) -> None:
        """Hold a message against the module's rules, and keep what it brings; other messages bring nothing.

        Raises:
            Refusal: `BAD_SIGNATURE` by rule 1, `FOREIGN_HEAD` by rules 2 and 3.
        """
        if not isinstance(message, Work | Close):
            return
        for receipt in message.receipts:
            self._check_receipt(message, receipt)
        held = message.heads
        if held is not None and held.head is not None and not held.proves(self._site.name):
            raise self._foreign(message, held.head, "this site's head is not proven to be under the root", remedy=_ERRS)
        keep_receipts(self._site.folder, message.receipts)
        self._check_heads(message, held)
        self._write_down(message, held)

    def _check_receipt(self, message: Work | Close, receipt: Receipt) -> None:
        mine = (receipt.site, receipt.study) == (self._site.name, message.address.study)
        if not mine or not receipt.holds(self._site.coordinator):
            raise Refusal(WireCode.BAD_SIGNATURE, remedy="A receipt in it is not the coordinator's word to this site.")

    def _check_heads(self, message: Work | Close, held: Held | None) -> None:
        named = [receipt.head for receipt in message.receipts if receipt.head is not None]
        foreign = [head for head in named if not self._has(head, held)]
        rule = "a receipt names a head that this ledger does not have"
        if held is not None and held.head is not None and not self._has(held.head, held):
            foreign.append(held.head)
            rule = "the root holds a head that this ledger does not have"
        if foreign:
            below = vouched(self._site.folder, message.address.study)
            open_ = self._note(message, [head for head in foreign if head.n > below])
            raise self._foreign(message, foreign[-1], rule, remedy=_SETTLE if open_ else _ERRS)

    def _note(self, message: Work | Close, heads: list[Head]) -> bool:
        """Keep what is claimed; whether anything of it is for a person to settle."""
        folder, place = self._site.folder, message.address
        claims = [Claim(study=place.study, round=place.round, head=head) for head in heads]
        unsettled = [claim for claim in claims if not is_dismissed(folder / LEDGER_FILE, claim)]
        for claim in unsettled:
            note_claim(folder, claim)
            self._site.purse.doubt()
        return bool(unsettled)

    def _has(self, head: Head, held: Held | None) -> bool:
        site = self._site
        lost = set(site.egress.lost)
        if held is not None:  # what the coordinator has heard of, it has taken the new end for
            lost -= set(held.lost.get(site.name, ()))
        return site.ledger.holds(head.n, head.hash) or any(loss.covers(head) for loss in lost)

    def _foreign(self, message: Work | Close, head: Head, rule: str, *, remedy: str) -> Refusal:
        site, place = self._site, message.address
        said = {"study": place.study, "round": place.round, "rule": rule, "entry": head.n, "hash": head.hash}
        site.seldom.append("head_refused", said)
        return Refusal(WireCode.FOREIGN_HEAD, remedy=f"It is entry {head.n}: {rule}. {remedy}")

    def _write_down(self, message: Work | Close, held: Held | None) -> None:
        site, place = self._site, message.address
        root, lost = (held.root, held.lost) if held else (None, {})
        before = self._told.get(place.study)
        if before == (root, lost):
            return
        self._told[place.study] = root, lost
        head = held.head if held else None
        said = {"study": place.study, "round": place.round, "root": root, "sites": held.sites if held else 0}
        told = {name: [one.model_dump() for one in losses] for name, losses in lost.items()}
        said |= {"entry": head.n if head else None} | ({"lost": told} if told else {})
        site.ledger.append("heads", said, time=site.now(), wait=False)
        if head is None:
            none = "The coordinator holds no head of this site's ledger in round {round} of {study}."
            site.say(remark(none, level="warning", round=place.round, study=place.study))
        for name in lost if before is None or before[1] != lost else ():
            declared = "{other} has declared that it lost the end of its ledger; this site's ledger says so, too."
            site.say(remark(declared, level="warning", other=name, study=place.study))
