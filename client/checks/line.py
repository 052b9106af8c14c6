"""The line to the server, from the outside in: proxy, name, port, certificate, place on the roster, clock, speed."""

import shutil
import socket
import ssl
import tempfile
import time
from pathlib import Path

from client.checks.grounds import Grounds
from client.line.diagnosis import diagnose, open_line
from client.line.fleet import NotAdmitted
from shared.contract import contract_of
from shared.preflight import Finding, fix, passed, warn
from shared.rehearsal import CLOCK_TOLERANCE_S, two_digits

BEAT_S = 10.0  # so often a connected site calls, whatever it does
SLOW_BYTES_PER_S = 125_000  # 1 Mbit/s
EXPIRING_DAYS = 30
_DAY_S = 86_400


def look_at_proxy(grounds: Grounds) -> Finding:
    """Does the line go through a proxy, or past somebody who opens it?"""
    if grounds.way.inspection:
        return warn(
            "TLS inspection is accepted: whoever opens the line reads what the site sends.",
            "Have the line left alone, and take server.accept_tls_inspection out of site.toml.",
        )
    if grounds.proxy is None:
        return passed("None on the way.")
    named = "server.proxy" if grounds.way.chosen else "https_proxy"
    return warn(
        f"The line goes through the proxy {grounds.proxy}, which {named} names.",
        "Have it leave connections open that are idle for a minute, and pass TLS on unopened.",
        proxy=str(grounds.proxy),
    )


def look_at_name(grounds: Grounds) -> Finding:
    """Is the server's name known?"""
    host = grounds.reach.host
    if grounds.proxy is not None:
        return passed(f"The proxy resolves {host}.")
    try:
        found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError:
        return fix(f"The name {host} is not known here.", "Have it entered in the DNS that this machine asks.")
    return passed(host if found == [host] else f"{host} is {', '.join(found[:4])}.", addresses=len(found))


def look_at_port(grounds: Grounds) -> Finding:
    """Does the port answer?"""
    where, began = grounds.where, time.perf_counter()
    try:
        open_line(grounds.reach.host, grounds.reach.port, proxy=grounds.proxy).close()
    except ConnectionRefusedError:
        return fix(
            f"Nothing answers at {where}.",
            "Ask the coordinator whether the server runs; if it does, have the firewall permit TCP out to it.",
        )
    except OSError:
        return fix(
            f"No way to {where}.",
            f"Have the firewall permit TCP from this machine to {where}, outgoing; nothing comes in.",
        )
    return passed(f"{where} answers.", connect_s=round(time.perf_counter() - began, 4))


def look_at_tls(grounds: Grounds) -> Finding:
    """Is the server's certificate the federation's, and does HTTP/2 get through?"""
    reach, where = grounds.reach, grounds.where
    trusted = reach.ca_pem + grounds.way.inspection
    context = ssl.create_default_context(cadata=trusted.decode())
    context.set_alpn_protocols(["h2"])
    try:
        with (
            open_line(reach.host, reach.port, proxy=grounds.proxy) as line,
            context.wrap_socket(line, server_hostname=reach.host) as shown,
        ):
            ends = ssl.cert_time_to_seconds(str((shown.getpeercert() or {})["notAfter"]))
            version, protocol = shown.version(), shown.selected_alpn_protocol()
    except OSError:
        plain = diagnose(reach.host, reach.port, trusted, proxy=grounds.proxy)
        return fix(plain.what, plain.remedy)
    if protocol != "h2":
        return fix(
            f"{where} shows the federation's certificate, and does not agree to HTTP/2.",
            "Have the proxy in front of the server pass gRPC on, which is HTTP/2.",
        )
    days = int((ends - grounds.clock()) / _DAY_S)
    if days < EXPIRING_DAYS:
        return warn(
            f"The server's certificate ends in {days} days.", "Ask the coordinator to renew it.", days_left=days
        )
    return passed(f"The certificate is the federation's, for {days} days more; {version}.", days_left=days)


def look_at_registration(grounds: Grounds) -> Finding:
    """Does the server know the site's key?"""
    served = grounds.served()
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder) / "link.json"
        own = grounds.folder / "link" / "link.json"
        if own.is_file():
            shutil.copyfile(own, memory)
        try:
            grounds.soundings.register(memory, leave=not served)
        except NotAdmitted:
            return fix(
                "The server does not admit this site's key.",
                "Send the join request, have the coordinator admit it, and let the fingerprints be compared; if that"
                " was done, end any second agent of this site.",
            )
    return passed("The server knows this site" + (", whose agent serves." if served else "."), served=served)


def look_at_clock(grounds: Grounds) -> Finding:
    """How far is this computer's clock from the server's?"""
    behind = grounds.soundings.clock_behind_s()
    off = f"{abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} the server's"
    if abs(behind) > CLOCK_TOLERANCE_S:
        return fix(
            f"This computer's clock is {off}.",
            f"Keep it by NTP (chrony, systemd-timesyncd); the server refuses what is {CLOCK_TOLERANCE_S:.0f} s ahead,"
            " and the times in the ledger would be wrong.",
            behind_s=behind,
        )
    return passed("It agrees with the server's." if abs(behind) < 1 else f"It is {off}.", behind_s=behind)


def look_at_speed(grounds: Grounds) -> Finding:
    """How fast is the line, and how long would a round's model and update be on their way?"""
    trip_s, per_s = grounds.soundings.round_trip_s(), grounds.soundings.bytes_up_per_s()
    facts = {"round_trip_s": round(trip_s, 4), "bytes_up_per_s": round(per_s)}
    what = f"A call takes {trip_s * 1000:.0f} ms; {per_s / 1e6:.1f} MB/s upwards."
    if grounds.study is not None:
        whole = contract_of(grounds.study, grounds.tensors, site=grounds.invitation.site).payload_bytes
        grounds.measured["travel_s"] = travel_s = 2 * whole / per_s
        what += f" A round's model and update: about {two_digits(travel_s):g} s."
        facts["travel_s"] = two_digits(travel_s)
    if per_s < SLOW_BYTES_PER_S:
        return warn(what, "Ask whether the line is shaped or shared; the server waits for its slowest site.", **facts)
    return passed(what, **facts)


def look_at_idling(grounds: Grounds) -> Finding:
    """Does a line that was left idle still carry a call?"""
    idle_s = grounds.idle_s or 0.0
    grounds.soundings.round_trip_s(times=1)
    time.sleep(idle_s)
    if grounds.soundings.still_there():
        return passed(f"A line that was idle for {idle_s:g} s still carries calls.", idle_s=idle_s)
    what = f"A line that was idle for {idle_s:g} s is cut without a word by something between."
    if idle_s > BEAT_S:
        return warn(
            what, f"A running site calls every {BEAT_S:.0f} s; see that less than that is not cut, too.", idle_s=idle_s
        )
    return fix(
        what, f"Have the firewall or proxy keep connections that are idle for {BEAT_S:.0f} s or more.", idle_s=idle_s
    )
