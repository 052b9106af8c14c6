"""What happens in the drill, in order: the guides' commands, typed by those for whom they were written.

The coordinator founds a federation and lets three hospitals in; a study begins; meanwhile certificates are
renewed, a hospital and the server lose their power, and another hospital is cut off. The study must finish.
Whether all that was as it should be is judged in `drill/verdict.py`.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drill import guides
from drill.broken import Broken
from drill.guides import Command
from drill.journal import Journal, site_state
from drill.machine import PATIENCE_S, Machine
from drill.network import SERVER, Network
from drill.undisturbed import undisturbed
from drill.wheel import Installed

HOSPITALS = ("ward-a", "ward-b", "ward-c")
RENEWED, STRUCK, REVOKED = HOSPITALS
HOST, PORT = "federation.example.org", 9092
ROUNDS = 24
STEPS = 16  # by the clock, a site that comes up while the others wait takes ten times as many: refused for its norm
_SHOWN = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2])), timeout=5))"


@dataclass
class Story:
    """The drill under way.

    Attributes:
        server: the coordinator's machine.
        hospitals: the hospitals' machines, by site.
        found: what was found out so far, by the names of the answer.
    """

    net: Network
    installed: Installed
    server: Machine
    hospitals: dict[str, Machine]
    found: dict[str, Any] = field(default_factory=dict)
    _with_it: int = 0  # rounds in which the revoked site counted

    @property
    def federation(self) -> Path:
        """The coordinator's folder of the federation."""
        return self.server.home / "north"

    @property
    def journal(self) -> Journal:
        """The study's journal."""
        return Journal(self.federation / "studies/pneumonia/journal.jsonl")

    def tell(self) -> None:
        """Let it all happen.

        Raises:
            Broken: something did not happen, or not in time.
        """
        self._check_firewall()
        began = time.monotonic()
        self._let_in()
        self._begin_study()
        self.found["first_round_s"] = round(time.monotonic() - began, 1)
        self.hospitals["ward-a"].type(guides.SENT.words())
        self.found["site_commands"] = max(len(machine.typed) for machine in self.hospitals.values())
        self.found["site_commands_typed"] = self.hospitals["ward-a"].typed
        self._renew()
        self._cut_power()
        self._revoke()
        self._finish()

    # ------------------------------------------------------------ to the first round

    def _check_firewall(self) -> None:
        """What is not let out does not get out; from then on the firewall counts."""
        ask = f"import socket; socket.create_connection(('{HOST}', {PORT + 1}), timeout=1)"
        listen = f"import socket, time; s = socket.create_server(('', {PORT + 1})); time.sleep(60)"
        self.server.start([str(self.installed.python), "-c", listen])
        self._until(lambda: PORT + 1 in self.net.listening(SERVER), "a second port at the server")
        try:
            self.hospitals["ward-a"].ask([str(self.installed.python), "-c", ask])
        except Broken:
            self.net.forget()
        else:
            raise Broken(f"The firewall lets port {PORT + 1} out.")
        self.server.ask_to_end()
        self.server.shut_down()

    def _let_in(self) -> None:
        """Found the federation, invite the sites, let them join, admit them, serve; the sites start."""
        theirs = self._coordinator(guides.INIT)
        for site, machine in self.hospitals.items():
            self._coordinator(guides.INVITE, site)
            shutil.copy(self.federation / f"invitations/{site}.json", machine.home)  # as a courier brings it
            joined = machine.type(guides.JOIN.words(site))
            mine, coordinators = fingerprint(joined, "your fingerprint"), fingerprint(joined, "coordinator's")
            if coordinators != fingerprint(theirs, "Coordinator's key"):
                raise Broken(f"{site} was shown another fingerprint of the coordinator.")
            shutil.copy(machine.home / site / f"{site}-request.json", self.server.home)
            self._coordinator(guides.ADMIT, site, yes_to=mine)
        self.server.start(guides.SERVE.words())
        for site, machine in self.hospitals.items():
            machine.start(guides.START.words(site))

    def _begin_study(self) -> None:
        """Write the study as the template has it, with short rounds, and launch it."""
        self.server.type(guides.NEW.words())
        file = self.server.home / "pneumonia.toml"
        text = file.read_text().replace("epochs_per_round = 1", f"steps_per_round = {STEPS}")
        file.write_text(text.replace("count = 10", f"count = {ROUNDS}"))
        self.server.type(guides.LAUNCH.words())
        self._until(lambda: len(self.journal.rounds()) >= 1, "the first round")
        self.found["from_wheel"] = all(
            self._is_from_wheel(machine) for machine in (self.server, *self.hospitals.values())
        )

    # ------------------------------------------------------------ in the midst of the study

    def _renew(self) -> None:
        """The server's certificate and a site's, under a study that goes on."""
        before = self._shown()
        self._coordinator(guides.RENEW_SERVER)
        self._until(lambda: self._shown() not in ("", before), "the server's new certificate", turn_s=1.0)
        admission = self.hospitals[RENEWED].home / RENEWED / "admission.json"
        had = admission.read_bytes()
        self._coordinator(guides.RENEW_SITE, RENEWED)
        self._until(lambda: admission.read_bytes() != had, f"{RENEWED}'s new certificate")
        self._until(lambda: self._taken(RENEWED), "the coordinator's word for it", turn_s=1.0)
        self._go_on(set(HOSPITALS))
        self.found["renewed_mid_study"] = [SERVER, RENEWED]

    def _cut_power(self) -> None:
        """A hospital's machine dies in the middle of a round, then the server's; each comes up again."""
        ended: dict[str, Any] = {}
        struck = self.hospitals[STRUCK]
        for machine, words in (
            (struck, guides.START.words(STRUCK)),
            (self.server, guides.SERVE.words()),
        ):
            self._until(lambda: site_state(struck.home / STRUCK) == "round", f"{STRUCK} at work")
            began = time.monotonic()
            processes = machine.cut_power()
            machine.start(words)
            self._go_on(set(HOSPITALS))
            ended[machine.name] = {"processes": processes, "all_count_again_s": round(time.monotonic() - began, 1)}
        self.found["killed_and_restarted"] = ended

    def _revoke(self) -> None:
        """Cut a site off in the middle of a round; from the command's first moment until it is outside."""
        folder = self.hospitals[REVOKED].home / REVOKED
        self._until(lambda: site_state(folder) == "round", f"{REVOKED} at work")
        began = time.monotonic()
        self._coordinator(guides.REVOKE, REVOKED)
        self._until(lambda: site_state(folder) == "offline", f"{REVOKED} outside")
        self.found["revoked_cut_s"] = round(time.monotonic() - began, 1)
        self._go_on(set(HOSPITALS) - {REVOKED})
        self._with_it = sum(REVOKED in counted for counted in self.journal.rounds())

    def _finish(self) -> None:
        """Wait for the study as a coordinator does, and count what crossed the borders."""
        self.server.type(guides.WATCH.words())
        listed = json.loads(self.server.ask(["wardround", "study", "list", "--federation", "north", "--json"]))
        states = [study["state"] for study in listed["data"]["studies"]]
        self.found["studies"], self.found["studies_lost"] = len(states), len(states) - states.count("finished")
        rounds = self.journal.rounds()
        self.found["rounds"], self.found["rounds_in_order"] = len(rounds), self.journal.in_order()
        if sum(REVOKED in counted for counted in rounds) > self._with_it:
            raise Broken(f"{REVOKED} counted after it was revoked.")
        self.found |= self._crossed()
        self.found["from_wheel"] &= self._wheels() == {self.installed.sha256}

    # ------------------------------------------------------------ what is found out

    def _crossed(self) -> dict[str, Any]:
        """What the firewall counted, beside what the network matrix promises."""
        tried = self.net.tried()
        named = {one._replace(source="site") if one.source in HOSPITALS else one for one in tried}
        return {
            "outbound_ports": sorted({one.port for one in tried if one.source in HOSPITALS}),
            "crossed": [{**one._asdict(), **count} for one, count in sorted(tried.items())],
            "neither_tcp_nor_udp": self.net.tried_otherwise(),
            "as_in_network_matrix": named == guides.promised(),
            "listening": {name: self.net.listening(name) for name in (SERVER, *HOSPITALS)},
        }

    def _wheels(self) -> set[str]:
        """The wheels that the sites' own ledgers say they run."""
        ledgers = (machine.home / site / "ledger.jsonl" for site, machine in self.hospitals.items())
        entries = (json.loads(line) for ledger in ledgers for line in ledger.read_text().splitlines())
        return {entry["data"]["wheel"] for entry in entries if entry.get("type") == "contract"}

    def _is_from_wheel(self, machine: Machine) -> bool:
        """Whether everything that runs on a machine, SuperLink, ServerApp and workers too, is the wheel's."""
        return all(program.is_relative_to(self.installed.folder) for program in machine.programs())

    def _shown(self) -> str:
        """The certificate that the server shows to a hospital now; empty if nobody answers."""
        try:
            return self.hospitals[RENEWED].ask([str(self.installed.python), "-c", _SHOWN, HOST, str(PORT)])
        except Broken:
            return ""

    def _taken(self, site: str) -> bool:
        """Whether a site has taken its newest admission."""
        said = json.loads(self.server.ask([*guides.STATUS.words(), "--json"]))
        return any(row["name"] == site and row["taken"] for row in said["data"]["endings"])

    def _coordinator(self, command: Command, site: str = "ward-a", *, yes_to: str | None = None) -> str:
        return self.server.type(command.words(site), yes_to=yes_to)

    def _go_on(self, sites: set[str]) -> None:
        """Wait until another round counts these sites and nobody else."""
        seen = len(self.journal.rounds())
        self._until(lambda: sites in self.journal.rounds()[seen:], f"a round of {', '.join(sorted(sites))}")

    def _until(self, condition: Callable[[], bool], what: str, *, turn_s: float = 0.1) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.journal.entries("study_finished") or self.journal.entries("study_failed"):
                raise Broken(f"The study was over before {what}.")
            if time.monotonic() > deadline:
                raise Broken(f"{PATIENCE_S:.0f} s passed without {what}.")
            time.sleep(turn_s)
        rounds = len(self.journal.rounds())
        print(f"{time.strftime('%H:%M:%S')} {what}; {rounds} of {ROUNDS} rounds", file=sys.stderr, flush=True)


def fingerprint(said: str, label: str) -> str:
    """What a command printed behind a label."""
    found = [line.partition(label)[2].strip() for line in said.splitlines() if label in line]
    if not found:
        raise Broken(f"A command did not say: {label}.")
    return found[0]


@contextmanager
def machines(net: Network, installed: Installed, place: Path, environment: dict[str, str]) -> Iterator[Story]:
    """The machines of the drill; what runs on them has ended when the block ends."""
    made = {
        name: Machine(name, net, home=place / name, environment=environment) for name in (SERVER, *HOSPITALS)
    }  # fmt: skip
    try:
        yield Story(net, installed, made[SERVER], {site: made[site] for site in HOSPITALS})
    finally:
        with undisturbed():
            for machine in made.values():
                machine.ask_to_end()
            for machine in made.values():
                machine.shut_down()
