"""Papers that give no right: invitations, join requests, rosters and names, before the very folder that is served.

Each tries one thing and returns what was said; `GotIn` says that it was let in. Whatever is tried, the roster stays
as it is, but for a site that is invited, admitted and revoked so that its key can be tried afterwards.
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flwr.proto.fleet_pb2 import ActivateNodeRequest

from client.admission import take_admission
from client.join import join, load_enrolment
from client.waiting_entries import keep_entry
from deploy.bench.intruder_calls import credentials, refused
from deploy.bench.intruder_ground import HONEST, INSIDER, GotIn, Ground
from deploy.local import wardround_command
from server.federation import create_federation
from server.launch import launch
from server.membership.admissions import admission_path
from server.membership.enrolment import INVITATION_DAYS, admit, invite, revoke
from shared.canonical import canonical
from shared.clock import utc_now
from shared.durable import write_atomically
from shared.enrolment import JOIN_PURPOSE, Invitation, make_join_request, read_invitation
from shared.errors import WardroundError
from shared.keys import identity_hex, make_identity_key, make_transport_key, transport_pem
from shared.signed_record import sign_record
from shared.study import parse_study

DAY_S = 86_400
GUEST = "guest"
COMMAND_S = 300.0


def held_off(ground: Ground, act: Callable[[], Any]) -> str:
    """What an act was refused with, the roster being as it was."""
    roster = ground.federation / "roster.signed"
    before = roster.read_bytes()
    try:
        act()
    except WardroundError as error:
        if roster.read_bytes() != before:
            raise GotIn("it was refused, and the roster is another one") from None
        return f"{type(error).__name__}: {error.what}"
    raise GotIn("it was taken")


def _invited(ground: Ground, site: str = GUEST, *, at: float = 0.0) -> Invitation:
    """A fresh invitation, read by whoever has it."""
    return read_invitation(invite(ground.federation, site, now=_now(at)).read_bytes())


def _answer(invitation: Invitation, **changed: Any) -> bytes:
    """Its answer with new keys."""
    asked = invitation.model_copy(update=changed)
    return make_join_request(asked, transport_key=make_transport_key(), identity_key=make_identity_key())


def _admit(ground: Ground, request: bytes) -> str:
    return held_off(ground, lambda: admit(ground.federation, request, now=_now()))


def _now(at: float = 0.0) -> int:
    return int(time.time() + at)


# ------------------------------------------------------------------ invitations and requests


def stolen_invitation(ground: Ground) -> str:
    """A thief answers a site's invitation first; the coordinator compares what the site itself has read to him."""
    invitation = _invited(ground)
    thief, file = _answer(invitation), ground.scratch / "stolen.json"
    file.write_bytes(thief)
    words = ["federation", "admit", str(ground.federation), str(file), "--fingerprint", "0123 4567 89ab cdef", "--json"]
    before = (ground.federation / "roster.signed").read_bytes()
    done = subprocess.run([wardround_command(), *words], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode == 0 or (ground.federation / "roster.signed").read_bytes() != before:
        raise GotIn("the thief was admitted")
    return str(json.loads(done.stdout)["error"]["what"])[:160]


def used_invitation(ground: Ground) -> str:
    """Answer, with new keys, an invitation by which a site was admitted."""
    return _admit(ground, _answer(ground.enrolment().invitation))


def expired_invitation(ground: Ground) -> str:
    """Answer an invitation after its end."""
    return _admit(ground, _answer(_invited(ground, at=-(INVITATION_DAYS + 1) * DAY_S)))


def replaced_invitation(ground: Ground) -> str:
    """Answer an invitation that a newer one has replaced."""
    old = _invited(ground)
    _invited(ground)
    return _admit(ground, _answer(old))


def tampered_invitation(ground: Ground) -> str:
    """Send a site an invitation that leads to another host."""
    said = json.loads(invite(ground.federation, GUEST, now=_now()).read_bytes())
    file = ground.scratch / "tampered.json"
    file.write_bytes(canonical(said | {"host": "evil.example"}))
    return held_off(ground, lambda: join(file, ground.scratch / "lured", now=_now()))


def caught_request(ground: Ground) -> str:
    """Put other keys into a join request that was caught on its way."""
    invitation, other = _invited(ground), make_identity_key()
    caught = json.loads(_answer(invitation))
    theirs = json.loads(make_join_request(invitation, transport_key=make_transport_key(), identity_key=other))
    mixed = {key: value for key, value in (theirs | {"code": caught["code"]}).items() if key != "signature"}
    return _admit(ground, sign_record(mixed, key=other, signer=GUEST, purpose=JOIN_PURPOSE))


def tampered_request(ground: Ground) -> str:
    """Change a join request without its keys."""
    said = json.loads(_answer(_invited(ground)))
    return _admit(ground, canonical(said | {"transport_key": transport_pem(make_transport_key().public_key())}))


def anothers_name(ground: Ground) -> str:
    """Ask to join in the name of a site that is there."""
    return _admit(ground, _answer(_invited(ground), site=HONEST[0]))


def an_uninvited_name(ground: Ground) -> str:
    """Ask to join under a name that nobody invited, with another's invitation."""
    return _admit(ground, _answer(_invited(ground), site="nobody"))


def anothers_key(ground: Ground) -> str:
    """Bring a transport key that one does not hold."""
    invitation, identity = _invited(ground), make_identity_key()
    said = json.loads(make_join_request(invitation, transport_key=make_transport_key(), identity_key=identity))
    del said["signature"]
    said |= {
        "transport_key": ground.public_key(HONEST[0]).decode(),
        "identity_key": identity_hex(identity.public_key()),
    }
    return _admit(ground, sign_record(said, key=identity, signer=GUEST, purpose=JOIN_PURPOSE))


def another_federation(ground: Ground) -> str:
    """Send a request that was made for another federation."""
    return _admit(ground, _answer(_invited(ground), federation="elsewhere"))


def another_protocol(ground: Ground) -> str:
    """Speak another protocol number."""
    return _admit(ground, canonical(json.loads(_answer(_invited(ground))) | {"protocol": 2}))


def deep_json(ground: Ground) -> str:
    """Send brackets instead of a request."""
    return _admit(ground, b"[" * 60_000)


def huge_request(ground: Ground) -> str:
    """Send 64 MB instead of a request, by the command that people type."""
    file = ground.scratch / "huge.json"
    with file.open("wb") as made:
        made.truncate(64 << 20)
    words = ["federation", "admit", str(ground.federation), str(file), "--fingerprint", "0", "--json"]
    done = subprocess.run([wardround_command(), *words], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode == 0:
        raise GotIn("it was read")
    return str(json.loads(done.stdout)["error"]["what"])[:160]


def anothers_admission(ground: Ground) -> str:
    """Give a site the admission of another."""
    mine, theirs = ground.enrolment(), admission_path(ground.federation, HONEST[0]).read_bytes()
    key = transport_pem(mine.transport_key.public_key())
    folder = ground.sites[INSIDER]
    keep, lead = partial(keep_entry, folder), mine.coordinators.key

    def take() -> object:
        return take_admission(
            folder, theirs, invitation=mine.invitation, coordinator=lead, transport_key=key, note=keep
        )

    return held_off(ground, take)


# ------------------------------------------------------------------ names and bombs


def a_path_as_site(ground: Ground) -> str:
    """Invite a site whose name leads out of the folder."""
    return held_off(ground, lambda: invite(ground.federation, "../../escape", now=_now()))


def a_path_as_site_revoked(ground: Ground) -> str:
    """Revoke a name that leads to another file."""
    return held_off(ground, lambda: revoke(ground.federation, "../roster"))


def a_path_as_study(ground: Ground) -> str:
    """Launch a study whose name leads out of the folder."""
    return _launch(ground, '[study]\nname = "../../escape"\n')


def deep_toml(ground: Ground) -> str:
    """Launch a study of nothing but brackets."""
    return _launch(ground, "a = " + "[" * 100_000)


def huge_toml(ground: Ground) -> str:
    """Launch a study of 32 MB."""
    return _launch(ground, "a = 1\n" + "#" * (32 << 20))


def _launch(ground: Ground, text: str) -> str:
    def act() -> None:
        launch(ground.federation, parse_study(text), source=text, start_model=None, now=utc_now())

    return held_off(ground, act)


# ------------------------------------------------------------------ the roster under a server that runs


def tampered_roster(ground: Ground) -> str:
    """Change a byte of the roster that is served."""
    return _with_roster(ground, lambda roster: roster[:-9] + bytes([roster[-9] ^ 1]) + roster[-8:])


def anothers_roster(ground: Ground) -> str:
    """Put a roster there that another key has signed."""
    other = ground.scratch / "elsewhere"
    create_federation(other, name="demo", host="127.0.0.1", fleet_port=ground.port, now=_now())
    return _with_roster(ground, lambda _: (other / "roster.signed").read_bytes())


def revoked_key(ground: Ground) -> str:
    """Call with the key of a site that was admitted, and then revoked."""
    enrolled = _guest(ground)
    ground.hears("sites may connect", lambda: revoke(ground.federation, GUEST))
    key = enrolled.transport_key
    request = ActivateNodeRequest(public_key=transport_pem(key.public_key()).encode(), heartbeat_interval=30.0)
    return refused(ground, "ActivateNode", request, credentials(key))


def older_roster(ground: Ground) -> str:
    """Put back the roster that a revoked site stood on."""
    key = _guest(ground).transport_key
    old = (ground.federation / "roster.signed").read_bytes()
    ground.hears("sites may connect", lambda: revoke(ground.federation, GUEST))
    said = _with_roster(ground, lambda _: old)
    request = ActivateNodeRequest(public_key=transport_pem(key.public_key()).encode(), heartbeat_interval=30.0)
    refused(ground, "ActivateNode", request, credentials(key))
    return said


def _guest(ground: Ground) -> Any:
    """A further site, admitted as any; the server lets it in."""
    folder = ground.scratch / f"guest-{time.monotonic_ns()}"
    request = join(invite(ground.federation, GUEST, now=_now()), folder, now=_now())
    ground.hears(GUEST, lambda: admit(ground.federation, request.read_bytes(), now=_now()))
    return load_enrolment(folder)


def _with_roster(ground: Ground, change: Callable[[bytes], bytes]) -> str:
    """Put a changed roster before the server that runs; the true one is put back, and the server has seen it."""
    file = ground.federation / "roster.signed"
    true = file.read_bytes()
    try:
        return ground.hears("roster", lambda: write_atomically(file, change(true)))
    finally:
        ground.hears("sites may connect", lambda: write_atomically(file, true))


PAPERS: Mapping[str, Callable[[Ground], str]] = {
    "a stolen invitation": stolen_invitation,
    "a used invitation": used_invitation,
    "an expired invitation": expired_invitation,
    "a replaced invitation": replaced_invitation,
    "a tampered invitation": tampered_invitation,
    "a caught join request, other keys": caught_request,
    "a tampered join request": tampered_request,
    "a join in another site's name": anothers_name,
    "a join under an uninvited name": an_uninvited_name,
    "a join with another site's key": anothers_key,
    "a join to another federation": another_federation,
    "another protocol": another_protocol,
    "deep JSON for a join request": deep_json,
    "64 MB for a join request": huge_request,
    "another site's admission": anothers_admission,
    "a path as a site's name": a_path_as_site,
    "a path as a revoked name": a_path_as_site_revoked,
    "a path as a study's name": a_path_as_study,
    "deep TOML for a study": deep_toml,
    "32 MB for a study": huge_toml,
    "a tampered roster": tampered_roster,
    "another's roster": anothers_roster,
    "a revoked site's key": revoked_key,
    "an older roster put back": older_roster,
}
