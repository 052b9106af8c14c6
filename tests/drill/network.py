"""Networks of their own: one namespace for each machine, and one that is the firewall between them.

    hospital --- firewall --- server        10.N.0.2  10.N.0.1 | 192.0.2.1  192.0.2.10

A hospital's machine knows the server's name from its hosts file, and reaches the server alone, on one TCP
port. Nothing of it is in the machine's own network; all of it bears one random name, and goes with it.
"""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from drill.broken import Broken
from drill.undisturbed import undisturbed

SERVER, FIREWALL = "server", "firewall"
SERVER_ADDRESS = "192.0.2.10"  # RFC 5737: addresses for documentation
ETC = Path("/etc/netns")  # `ip netns exec` lays what is here over /etc
RUN = Path("/run/netns")  # where `ip netns` keeps its namespaces
RULES = Path(__file__).with_name("firewall.nft")


class Crossing(NamedTuple):
    """Somebody who asked for a connection through the firewall: from where, whereto, by what, to which port."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass(frozen=True)
class Network:
    """The machines and the firewall between them.

    Attributes:
        name: random; every namespace begins with it.
    """

    name: str

    def namespace(self, machine: str) -> str:
        """The name of a machine's namespace."""
        return f"{self.name}-{machine}"

    def inside(self, machine: str, command: Sequence[str]) -> list[str]:
        """A command as it is run on a machine."""
        return ["ip", "netns", "exec", self.namespace(machine), *command]

    def tried(self) -> dict[Crossing, dict[str, int]]:
        """Every crossing that was tried, let through or not, with its packets and bytes on the way there."""
        (found,) = (part["set"] for part in self._counted("set", "tried") if "set" in part)
        counted = (element["elem"] for element in found.get("elem", ()))
        return {Crossing(*one["val"]["concat"]): one["counter"] for one in counted}

    def tried_otherwise(self) -> int:
        """Packets that were neither TCP nor UDP."""
        (found,) = (part["counter"] for part in self._counted("counter", "otherwise") if "counter" in part)
        return int(found["packets"])

    def forget(self) -> None:
        """Count anew."""
        shell(*self.inside(FIREWALL, ["nft", "flush", "set", "inet", "drill", "tried"]))
        shell(*self.inside(FIREWALL, ["nft", "reset", "counters"]))

    def listening(self, machine: str) -> list[int]:
        """Ports on which a machine can be reached from elsewhere, TCP and UDP."""
        lines = shell(*self.inside(machine, ["ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric"]))
        local = (line.split()[4].rpartition(":") for line in lines.splitlines())
        return sorted({int(port) for address, _, port in local if not address.startswith(("127.", "[::1]"))})

    def _counted(self, kind: str, name: str) -> list[dict[str, Any]]:
        said = shell(*self.inside(FIREWALL, ["nft", "--json", "list", kind, "inet", "drill", name]))
        return list(json.loads(said)["nftables"])


@contextmanager
def network(name: str, hospitals: Sequence[str], *, host: str, port: int) -> Iterator[Network]:
    """Make the networks; they are gone when the block ends, whatever was made of them.

    Args:
        name: random, so that it is ours alone.
        hospitals: the names of their machines.
        host: the server's name, which the hospitals' machines look up.
        port: the one TCP port that the firewall lets out.

    Raises:
        Broken: this account or this system cannot make them.
    """
    made = Network(name)
    machines = [FIREWALL, SERVER, *hospitals]
    with ExitStack() as stack:
        stack.callback(_remove, made, machines)
        for machine in machines:
            shell("ip", "netns", "add", made.namespace(machine))
            shell("ip", "-n", made.namespace(machine), "link", "set", "lo", "up")
            _name_server(made.namespace(machine), host)
        shell(*made.inside(FIREWALL, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
        _connect(made, SERVER, address=SERVER_ADDRESS, gateway="192.0.2.1")
        for number, hospital in enumerate(hospitals, start=1):
            _connect(made, hospital, address=f"10.{number}.0.2", gateway=f"10.{number}.0.1")
        rules = RULES.read_text().replace("SERVER", SERVER_ADDRESS).replace("PORT", str(port))
        shell(*made.inside(FIREWALL, ["nft", "--file", "-"]), text=rules)
        yield made


def why_not() -> str | None:
    """Why no network can be made here; None if it can."""
    needed = [program for program in ("ip", "ss", "nft", "sysctl") if shutil.which(program) is None]
    if needed:
        return f"{', '.join(needed)}: not installed (Debian: iproute2, nftables, procps)"
    probe = Network(f"wardround-{secrets.token_hex(4)}")
    try:
        shell("ip", "netns", "add", probe.namespace(SERVER))
        shell(*probe.inside(SERVER, ["nft", "list", "ruleset"]))
    except Broken as error:
        return str(error)
    finally:
        _remove(probe, [SERVER])
    return None


def namespaces(name: str) -> list[Path]:
    """The namespaces of a network that are there, and their files."""
    return [file for folder in (RUN, ETC) if folder.is_dir() for file in folder.iterdir() if file.name.startswith(name)]


def shell(*command: str, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run one command of the system, in this environment or the drill's own.

    Raises:
        Broken: it did not do its work.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=text, env=environment)
    if done.returncode:
        raise Broken(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return done.stdout


def _connect(made: Network, machine: str, *, address: str, gateway: str) -> None:
    here, there = made.namespace(machine), made.namespace(FIREWALL)
    shell("ip", "link", "add", "eth0", "netns", here, "type", "veth", "peer", "name", machine, "netns", there)
    for place, link, own in ((here, "eth0", address), (there, machine, gateway)):
        shell("ip", "-n", place, "address", "add", f"{own}/24", "dev", link)
        shell("ip", "-n", place, "link", "set", link, "up")
    shell("ip", "-n", here, "route", "add", "default", "via", gateway)


def _name_server(namespace: str, host: str) -> None:
    (ETC / namespace).mkdir(parents=True)
    (ETC / namespace / "hosts").write_text(f"127.0.0.1 localhost\n{SERVER_ADDRESS} {host}\n")
    (ETC / namespace / "resolv.conf").write_text("# no name server: a look-up that is not for the hosts file fails\n")


def _remove(made: Network, machines: Iterable[str]) -> None:
    with undisturbed():
        for machine in machines:
            with suppress(Broken):
                shell("ip", "netns", "delete", made.namespace(machine))
            shutil.rmtree(ETC / made.namespace(machine), ignore_errors=True)
        with suppress(OSError):  # somebody else's are in it
            ETC.rmdir()
