"""What the machine that serves offers: its name, its port, who else can reach the server's inner door, its limits."""

import contextlib
import ipaddress
import os
import pwd
import resource
import socket
from collections.abc import Iterator

import psutil

from server.checks.grounds import Grounds
from server.engine import callers
from server.engine.superlink import listening
from server.federation import listen_address
from shared.loopback import ADDRESS
from shared.preflight import Finding, fix, passed, warn

GB = 1e9
FREE_MEMORY_BYTES = 1e9
DESCRIPTORS, DESCRIPTORS_PER_SITE = 1024, 8
_FIRST_PERSON = 1000  # user ids of people begin here (login.defs(5))
_NO_LOGIN = ("nologin", "false", "sync")


def look_at_name(grounds: Grounds) -> Finding:
    """Is the name that sites dial known, and is it this machine's?"""
    host = grounds.federation.settings.host
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return fix(f"The name {host}, which sites dial, is not known here.", "Have it entered in the DNS of the sites.")
    own = {address.address.partition("%")[0] for card in psutil.net_if_addrs().values() for address in card}
    if found & own or any(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found):
        return passed(f"{host} is this machine.")
    return passed(f"{host} is {', '.join(sorted(found)[:3])}, which has to lead here (a front proxy, or NAT).")


def look_at_port(grounds: Grounds) -> Finding:
    """Is the port that sites dial, or that a proxy does for them, free, or ours?"""
    settings = grounds.federation.settings
    behind = settings.proxied_port
    host, port = (listen_address(settings.host), settings.fleet_port) if behind is None else (ADDRESS, behind)
    if grounds.served():
        return passed(f"Port {port} is this federation's, which is served now.")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            return fix(
                f"Port {port} cannot be used ({why}).",
                f"See who has it with `ss -ltnp 'sport = :{port}'`, or choose another port in federation.toml;"
                " invitations that were sent name the old one.",
            )
    return passed(f"Port {port} is free.")


def look_at_control(grounds: Grounds) -> Finding:
    """Does the SuperLink's Control API, which asks for no password, answer on loopback and to its own account alone?"""
    settings = grounds.federation.settings
    others = {settings.fleet_port, settings.proxied_port, settings.metrics.grpc_port}
    inner = sorted({place for place in listening(grounds.folder / "run") if place[1] not in others})
    if open_to_others := [f"{address}:{port}" for address, port in inner if not _is_loopback(address)]:
        return fix(
            f"A process of this federation listens at {', '.join(open_to_others)}, beside the port of the sites.",
            "Stop `wardround federation serve` and start it again; if that stays, close these ports in the firewall.",
        )
    if not callers.are_known():
        people = ", ".join(sorted(_people())[:4]) or "those of services"
        return warn(
            f"On loopback, which other accounts reach, too ({people}): this machine does not say who calls.",
            "Serve on Linux with /proc visible, or on a machine of its own: that interface asks for no password.",
        )
    if answering := [f"{ADDRESS}:{port}" for _, port in inner if callers.looks_up(port) is False]:
        return fix(
            f"What listens at {', '.join(answering)} answers every account of this machine.",
            "Stop `wardround federation serve` and start it again: the version that runs is an older one.",
        )
    return passed("On loopback, and for the server's own account alone: who else calls is refused.")


def look_at_limits(grounds: Grounds) -> Finding:
    """May the server open files and connections for every site?"""
    needed = DESCRIPTORS + DESCRIPTORS_PER_SITE * len(grounds.federation.roster.entries)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        return fix(
            f"A process may open {soft} files; {needed} are needed.",
            f"Run `ulimit -n {needed}` before, or set LimitNOFILE={needed} in the unit.",
            descriptors=soft,
        )
    return passed(f"A process may open {soft} files.", descriptors=soft, hard=hard)


def look_at_memory(grounds: Grounds) -> Finding:
    """How much memory is free?"""
    free = psutil.virtual_memory().available
    what = f"{free / GB:.1f} GB are free."
    if free < FREE_MEMORY_BYTES:
        return fix(what, "End other programs: the SuperLink holds models and updates in memory.", free_bytes=free)
    return passed(what, free_bytes=free)


def _is_loopback(address: str) -> bool:
    """Whether a socket's address is, also as IPv6 writes one of IPv4 (RFC 4291, section 2.5.5.2)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _people() -> Iterator[str]:
    """Other accounts that a person could log in to."""
    with contextlib.suppress(OSError):
        for one in pwd.getpwall():
            person = _FIRST_PERSON <= one.pw_uid < 65_534 and one.pw_uid != os.geteuid()
            if person and not one.pw_shell.endswith(_NO_LOGIN):
                yield one.pw_name
