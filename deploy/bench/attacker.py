"""A site that lies, for the admission benchmark: `python -m deploy.bench.attacker SITE_FOLDER`.

Agent, worker, keys and line are the real ones; only the door is not. In the round of the attack it
lets through what `deploy/bench/attacks.py` makes of the honest answer, signed and unchecked, and
says nothing of it in the ledger. This stands in for hostile software at a site: the server must not
rely on any check that a site makes of itself. No other file may give a site another door.
"""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from client.agent import Agent
from client.egress import Egress, Released
from client.join import load_enrolment
from client.site import Site, open_site
from deploy.bench.attacks import ATTACK_IN, Answer, Attack, attack_of, tamper
from shared.address import Stage
from shared.canonical import digest
from shared.contract import Contract
from shared.envelope import seal
from shared.heads import Losses, head_of
from shared.keys import make_identity_key
from shared.ledger import Ledger
from shared.update import PackedFile
from shared.wire import TO_SERVER, Message, Ready, encode


@dataclass(frozen=True)
class Smuggled:
    """What the link takes for a release: an envelope and a payload that no door has seen."""

    envelope: bytes
    payload: Path
    payload_sha256: str
    payload_bytes: int


class HostileDoor:
    """Stands where `Egress` stands, and passes everything honest on to it.

    Args:
        door: the site's real door.
        site: the site's name.
        seal_true, seal_false: sign a body, with the site's identity key and with one that nobody knows.
        folder: gets the forged updates.
        ledger: the site's, whose head every answer names.
    """

    def __init__(
        self,
        door: Egress,
        *,
        seal_true: Callable[[bytes], bytes],
        seal_false: Callable[[bytes], bytes],
        folder: Path,
        ledger: Ledger,
    ) -> None:
        self._door = door
        self._seal_true = seal_true
        self._seal_false = seal_false
        self._folder = folder
        self._ledger = ledger
        self._first: dict[str, Answer] = {}

    @property
    def lost(self) -> Losses:
        """What the real door's site has declared of its ledger's end."""
        return self._door.lost

    def settle(self) -> None:
        """As the real door does."""
        self._door.settle()

    def release(
        self, message: Message, *, contract: Contract | None, payload: Path | None = None
    ) -> Released | Smuggled:
        """Lie in the round of the attack; be honest otherwise, and remember round 1."""
        attack = attack_of(message.address.study)
        trained = isinstance(message, Ready) and message.address.stage is Stage.TRAIN
        if attack is None or not trained or payload is None:
            return self._door.release(message, contract=contract, payload=payload)
        named = message.model_copy(update={"ledger": head_of(self._ledger)})
        answer = Answer(cast(Ready, named), payload.read_bytes())
        if message.address.round == ATTACK_IN:
            return self._forge(attack, answer, payload)
        self._first.setdefault(message.address.study, answer)
        return self._door.release(message, contract=contract, payload=payload)

    def _forge(self, attack: Attack, honest: Answer, payload: Path) -> Smuggled:
        first = self._first[honest.ready.address.study]
        forged = tamper(attack, honest, state=dict(PackedFile(payload).items()), first=first)
        file = self._folder / f"{attack.value}.safetensors"
        file.write_bytes(forged.update)
        sign = self._seal_false if attack is Attack.BAD_SIGNATURE else self._seal_true
        return Smuggled(sign(encode(forged.ready)), file, digest(forged.update), len(forged.update))


def corrupt(site: Site) -> Site:
    """The same site with a hostile door."""
    true, false = load_enrolment(site.folder).identity_key, make_identity_key()
    folder = site.folder / "forged"
    folder.mkdir(exist_ok=True)
    door = HostileDoor(
        site.egress,
        seal_true=lambda body: seal(body, key=true, signer=site.name, purpose=TO_SERVER),
        seal_false=lambda body: seal(body, key=false, signer=site.name, purpose=TO_SERVER),
        folder=folder,
        ledger=site.ledger,
    )
    return replace(site, egress=cast(Egress, door))


def main() -> None:
    """Serve the federation as a hostile site until SIGTERM."""
    site = open_site(Path(sys.argv[1]), say=lambda line: print(line, file=sys.stderr, flush=True))
    agent = Agent(corrupt(site))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()


if __name__ == "__main__":
    main()
