"""What the journal of a study says of the sites' ledgers: their heads, and the ends that sites have lost."""

from server.record import Record
from shared.address import Stage
from shared.fields import Digest, Name
from shared.heads import Head, LostTail
from shared.wire import Count


class SiteClosed(Record):
    """A site put the study away; `head` anchors its ledger here, of which it is entry `n`."""

    site: Name
    head: Digest
    n: Count | None = None


class HeadsNoted(Record):
    """The last heads of all sites' ledgers as a round or trip begins, and the root that its messages carry."""

    round: Count
    stage: Stage
    root: Digest
    heads: dict[Name, Head]


class TailLost(Record):
    """A site has declared that it lost the end of its ledger; `held` is what was held of it until then, if anything."""

    site: Name
    lost: LostTail
    held: Head | None = None
