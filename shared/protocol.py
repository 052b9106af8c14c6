"""The protocol number: what it covers, and which numbers this software reads.

It covers what travels between a site and the server under a study's name: the messages with their fields and stages,
the contract that both sides derive, and the packed updates. Envelopes, ledgers, the records that people send each
other and the folders on disks have format numbers of their own.

A message bears the lowest number whose reader understands all that it says, and never the highest that its sender
knows:

    1   a study: open, train, upload, validate, evaluate, close
    2   a rehearsal

So a site and a server of neighbouring numbers do together whatever the lower one knows. Nothing is negotiated, and
so nobody can have two sides that know more say less. Why, and how a number is added and given up, stands in
`docs/adr/0024-messages-bear-the-lowest-number.md`.
"""

from typing import Final

from shared.errors import ProtocolError
from shared.version import VERSION

PROTOCOL: Final = 2  # the highest number that this software reads
OLDEST: Final = 1


def insist_on_readable(number: object, *, sender: str) -> None:
    """Whether a message of a number can be read here.

    Args:
        number: what the message says.
        sender: the version that its sender names.

    Raises:
        ProtocolError: the number is another one; both sides' numbers and versions are named, and who has to upgrade.
    """
    if type(number) is int and OLDEST <= number <= PROTOCOL:
        return
    newer = type(number) is int and number > PROTOCOL
    whose = "Upgrade Wardround on this side" if newer else "Have Wardround upgraded on the other side"
    raise ProtocolError(
        f"A message of protocol {ascii(number)[:32]} has come from Wardround {ascii(sender[:32])[1:-1]}; "
        f"this is Wardround {VERSION}, which reads {OLDEST} to {PROTOCOL}.",
        remedy=f"{whose}, as docs/upgrade.md says.",
    )
