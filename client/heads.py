"""What a site makes of the heads and receipts that a round message brings.

A message is believed only if, in this order,

1. each receipt is the coordinator's statement to this site about this study, signed for itself;
2. the head that it holds of this site is proven to be under the root of all sites' heads;
3. that head, and the one in each receipt, is an entry of the ledger here.

Else the message is refused and the ledger says why: a server that names a head which this ledger never had
errs or lies, or the ledger was rolled back. A message that names no head of this site is written down, and
said on the console, and goes on. The root is written into the ledger once for every change, and the
receipts are kept beside the ledger.
"""

from client.receipts import LEDGER_FILE, is_entry, keep_receipts
from client.site import Site
from shared.errors import Refusal, WireCode
from shared.heads import Head, Held
from shared.receipt import Receipt
from shared.wire import Close, FromServer, Work

_ASK = "Compare the ledger with its copies: was this site's folder restored? If not, show this to the coordinator."


class Heads:
    """The heads and receipts that one site is told of.

    Args:
        site: the parts to work with.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._roots: dict[str, str | None] = {}  # by study, the root that was written down last

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
        if held is not None and held.head is not None:
            self._check_head(message, held, held.head)
        self._write_down(message, held)
        keep_receipts(self._site.folder, message.receipts)

    def _check_receipt(self, message: Work | Close, receipt: Receipt) -> None:
        mine = (receipt.site, receipt.study) == (self._site.name, message.address.study)
        if not mine or not receipt.holds(self._site.coordinator):
            raise Refusal(WireCode.BAD_SIGNATURE, remedy="A receipt in it is not the coordinator's word to this site.")
        if receipt.head is not None and not self._has(receipt.head):
            raise self._foreign(message, receipt.head, "a receipt names a head that this ledger does not have")

    def _check_head(self, message: Work | Close, held: Held, head: Head) -> None:
        if not held.proves(self._site.name):
            raise self._foreign(message, head, "this site's head is not proven to be under the root")
        if not self._has(head):
            raise self._foreign(message, head, "the root holds a head that this ledger does not have")

    def _has(self, head: Head) -> bool:
        return is_entry(self._site.folder / LEDGER_FILE, head)

    def _foreign(self, message: Work | Close, head: Head, rule: str) -> Refusal:
        site, place = self._site, message.address
        said = {"study": place.study, "round": place.round, "rule": rule, "entry": head.n, "hash": head.hash}
        site.ledger.append("head_refused", said, time=site.now())
        return Refusal(WireCode.FOREIGN_HEAD, remedy=f"It is entry {head.n}: {rule}. {_ASK}")

    def _write_down(self, message: Work | Close, held: Held | None) -> None:
        site, place = self._site, message.address
        root = held.root if held else None
        if place.study in self._roots and self._roots[place.study] == root:
            return
        self._roots[place.study] = root
        head = held.head if held else None
        said = {"study": place.study, "round": place.round, "root": root, "sites": held.sites if held else 0}
        site.ledger.append("heads", {**said, "entry": head.n if head else None}, time=site.now(), wait=False)
        if head is None:
            site.say(f"The coordinator holds no head of this site's ledger in round {place.round} of {place.study}.")
