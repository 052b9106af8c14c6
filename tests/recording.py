"""Records what this version says and writes, so that later ones can be held to it: `python tests/recording.py`.

    tests/recorded/VERSION/messages.json    every kind of message and paper as it is signed, and the digests agreed on
    tests/recorded/VERSION/folders.tar.gz   a site's folder and its federation's, in the midst of a private study

A recording is made once, before its version is released, and never again: what it holds others have on their disks.
Its keys are of nobody.
"""

import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from finished_study import finished_study  # noqa: E402
from lone_site import LoneSite  # noqa: E402
from private_site import ONE, open_study, private, train  # noqa: E402

from server.membership.authority import certificate_pem, issue_authority  # noqa: E402
from shared.address import UNADDRESSED, Address, Stage  # noqa: E402
from shared.admission import Access, make_admission  # noqa: E402
from shared.amendment import Amendment, Terms, sign_amendment, with_terms  # noqa: E402
from shared.contract import contract_of  # noqa: E402
from shared.enrolment import Offer, make_invitation, make_join_request, read_invitation  # noqa: E402
from shared.envelope import seal  # noqa: E402
from shared.errors import WireCode  # noqa: E402
from shared.heads import Head, LostTail, held_for  # noqa: E402
from shared.identity import COORDINATOR, Roster, RosterEntry, sign_roster  # noqa: E402
from shared.key_card import KeyCard  # noqa: E402
from shared.keys import identity_hex, transport_pem  # noqa: E402
from shared.metrics import Score  # noqa: E402
from shared.receipt import Receipt  # noqa: E402
from shared.rehearsal import Check, Code  # noqa: E402
from shared.rehearsal_contract import rehearsal_contract  # noqa: E402
from shared.site_terms import SiteTerms  # noqa: E402
from shared.study import Study, parse_study  # noqa: E402
from shared.survey import Survey  # noqa: E402
from shared.tasks import task_for  # noqa: E402
from shared.update import pack, table_of  # noqa: E402
from shared.version import VERSION  # noqa: E402
from shared.wire import (  # noqa: E402
    TO_SERVER,
    Close,
    Closed,
    Counts,
    Grant,
    Late,
    Message,
    Open,
    Opened,
    Ready,
    Refused,
    Rehearse,
    Rehearsed,
    Uploaded,
    Work,
    encode,
    to_site,
)

RECORDED = Path(__file__).parent / "recorded"
SITE = "north"
COORDINATOR_KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
IDENTITY_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
NOW = 1_800_000_000
_TRANSPORT_KEY = ec.derive_private_key(3, ec.SECP384R1())
_STATE = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "norm.num_batches_tracked": np.array(3)}
_TENSORS, _MODEL = table_of(_STATE), "ab" * 32
_TERMS = SiteTerms(code="c" * 64, wheel="d" * 64, floors={"batch_size_at_least": 2}, expires="2034-01-31T12:00:00Z")
_STUDIES = {
    "plain": '[study]\nname = "plain"\n[task]\nclasses = ["opacity"]\n[training]\nepochs_per_round = 1\n',
    "rich": """
[study]
name = "rich"
description = "Fictitious."
seed = 7
[task]
mode = "multilabel"
classes = ["opacity", "effusion"]
subgroups = ["sex", "age", "vendor"]
[images]
size_px = 64
augment = "light"
[clinical.age]
kind = "number"
low = 0
high = 120
[model]
name = "resnet18"
norm = "group"
[training]
optimizer = "adam"
learning_rate = 0.001
batch_size = 16
steps_per_round = 8
algorithm = "fedprox"
proximal_mu = 0.01
[server]
optimizer = "fedadam"
[rounds]
count = 4
quorum = 2
late = "next"
[selection]
model = "best"
[transfer]
update_dtype = "bfloat16"
""",
    "private": """
[study]
name = "private"
[task]
classes = ["opacity"]
[model]
norm = "group"
[training]
steps_per_round = 4
[privacy]
noise_multiplier = 1.5
sampling_rate = 0.25
patients_per_step = 8
""",
    "masks": """
[study]
name = "masks"
[task]
kind = "segmentation"
classes = ["spinal cord"]
[images]
slices = 16
size_px = 32
spacing_mm = [1.5, 1.5, 4.0]
[model]
name = "unet"
norm = "instance"
[training]
batch_size = 2
steps_per_round = 8
""",
}


def _studies() -> dict[str, Study]:
    return {name: parse_study(text) for name, text in _STUDIES.items()}


def _contracts(studies: dict[str, Study]) -> dict[str, dict[str, str]]:
    """By study, the digests that both sides name: of the study, of the site's contract, of the rehearsal's."""
    found = {}
    for name, study in studies.items():
        contract = contract_of(study, _TENSORS, site=SITE, cohort=(SITE, "west"))
        found[name] = {
            "study": study.digest(),
            "contract": contract.under(_TERMS).digest(),
            "rehearsal": rehearsal_contract(study, site=SITE, survey=True).digest(),
        }
    return found


def _place(study: Study, stage: Stage, number: int = 1) -> Address:
    return Address(study=study.name, epoch=2, round=number, attempt=1, stage=stage)


def _admission() -> str:
    authority = certificate_pem(issue_authority(_TRANSPORT_KEY, name="ward", now=NOW)).decode()
    access = {"federation": "ward", "site": SITE, "number": 2, "host": "fl.example", "fleet_port": 9092}
    return make_admission(
        Access.model_validate(access | {"authorities": authority, "certificate": authority}), key=COORDINATOR_KEY
    ).decode()


def _receipt(study: Study) -> Receipt:
    said: dict[str, Any] = {"site": SITE, "study": study.name, "round": 1, "outcome": "counted"}
    said |= {"update_digest": "ef" * 32, "model_digest": _MODEL, "head": Head(n=9, hash="1" * 64), "root": "2" * 64}
    return Receipt(**said, time="2026-01-02T03:04:05Z").signed(COORDINATOR_KEY)


def _score(study: Study, split: str) -> Score:
    task = task_for(study.task)
    logits = np.linspace(-1, 1, 8).reshape(4, 2)
    return task.score(logits, (logits[::-1] > 0).astype(np.int64), model_digest=_MODEL, split=split)  # type: ignore[arg-type]


def _lost() -> LostTail:
    return LostTail(since=3, entry=5, hash="3" * 64, declared="2026-01-02T03:04:05Z")


def _amended(study: Study) -> tuple[Study, str]:
    before = Terms.of(study)
    after = Terms(rounds=before.rounds + 2, deadline_s=before.deadline_s)
    step = {"study": study.name, "number": 1, "original": study.digest(), "previous": study.digest()}
    amendment = Amendment.model_validate(step | {"before": before, "after": after})
    return with_terms(study, after), sign_amendment(amendment, key=COORDINATOR_KEY)


def _to_site(studies: dict[str, Study]) -> dict[str, Message]:
    rich, held = studies["rich"], held_for(SITE, {SITE: Head(n=9, hash="1" * 64), "west": Head(n=7, hash="7" * 64)})
    said: dict[str, Any] = {"receipts": (_receipt(rich),), "heads": held, "admission": _admission()}
    opening: dict[str, Any] = {"tensors": _TENSORS, "cohort": (SITE, "west")}
    opening |= {"fingerprints": {SITE: " ".join(["abcd"] * 8), "west": " ".join(["cdef"] * 8)}}
    asked: dict[str, Any] = {"study_digest": rich.digest(), "model_digest": _MODEL, "payload_bytes": 1000}
    asked |= {"slot_bytes": 10**6, "previous_digest": "cd" * 32}
    amended, step = _amended(studies["plain"])
    found: dict[str, Message] = {
        f"open {name}": Open(address=_place(study, Stage.OPEN, 0), study=study, **opening)
        for name, study in studies.items()
    }
    return found | {
        "open amended": Open(address=_place(amended, Stage.OPEN), study=amended, amendments=(step,), **opening),
        "work": Work(address=_place(rich, Stage.TRAIN, 2), counted_round=1, **asked, **said),
        "work on a first round": Work(
            address=_place(rich, Stage.TRAIN), **asked | {"previous_digest": None, "slot_bytes": 0}
        ),
        "work of validation": Work(address=_place(rich, Stage.VALIDATE, 5), **asked),
        "work of the closing trip": Work(address=_place(rich, Stage.EVALUATE, 6), **asked),
        "grant": Grant(address=_place(rich, Stage.UPLOAD), update_digest="ef" * 32, lease_s=30.0),
        "close": Close(address=_place(rich, Stage.CLOSE, 6), reason="finished", **said),
        "rehearse": Rehearse(
            address=_place(studies["plain"], Stage.REHEARSE, 0),
            study=studies["plain"],
            tensors=_TENSORS,
            model_digest=_MODEL,
            payload_bytes=1000,
            survey=True,
            sent_at=1.8e9,
        ),
    }


def _to_server(studies: dict[str, Study]) -> dict[str, Message]:
    rich, private = studies["rich"], studies["private"]
    ledger: dict[str, Any] = {"ledger": Head(n=9, hash="1" * 64), "lost": (_lost(),)}
    done: dict[str, Any] = {"model_digest": _MODEL, "update_digest": "ef" * 32, "update_bytes": 1000, "uploaded": True}
    done |= {"replayed": False, "counts": Counts(examples=128, patients=50, steps=8), "scores": ()}
    done |= {"seconds": {"train": 2.5, "score": 0.5}}
    scored = done | {"update_digest": None, "update_bytes": 0, "uploaded": False}
    split = {"patients": 5, "classes": {"opacity": 3, "negative": None}}
    survey = {"found": 12, "used": 10, "set_aside": {"other": None}, "vendors": {}, "missing": {}}
    survey |= {"splits": dict.fromkeys(("train", "validation", "test"), split), "intensity": (0.1, 0.5, 0.9)}
    opened: dict[str, Any] = {"device": "cuda:0", "fell_back": False, "threads": 4}
    opened["software"] = {"wardround": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.3.5"}
    return {
        "opened": Opened(
            address=_place(rich, Stage.OPEN, 0),
            contract_digest=contract_of(rich, _TENSORS, site=SITE, cohort=(SITE, "west")).under(_TERMS).digest(),
            terms=_TERMS,
            patients={"train": 50, "validation": 20, "test": 20},
            examples={"train": 60, "validation": 25, "test": 22},
            **opened,
            **ledger,
        ),
        "opened privately": Opened(
            address=_place(private, Stage.OPEN, 0),
            contract_digest=contract_of(private, _TENSORS, site=SITE, cohort=(SITE, "west")).under(_TERMS).digest(),
            terms=_TERMS,
            patients={},
            examples={},
            **opened,
            **ledger,
        ),
        "ready": Ready(
            address=_place(rich, Stage.TRAIN, 2), **done | {"scores": (_score(rich, "validation"),)}, **ledger
        ),
        "ready, late": Ready(
            address=_place(rich, Stage.TRAIN, 2), late=Late(round=1, model_digest="cd" * 32), **done, **ledger
        ),
        "ready, scored": Ready(
            address=_place(rich, Stage.EVALUATE, 6),
            withheld=("test",),
            **scored | {"scores": (_score(rich, "validation"),)},
            **ledger,
        ),
        "uploaded": Uploaded(address=_place(rich, Stage.UPLOAD), update_digest="ef" * 32, update_bytes=1000, **ledger),
        "closed": Closed(address=_place(rich, Stage.CLOSE, 6), head="1" * 64, **ledger),
        "rehearsed": Rehearsed(
            address=_place(studies["plain"], Stage.REHEARSE, 0),
            contract_digest=rehearsal_contract(studies["plain"], site=SITE, survey=True).digest(),
            findings={Check.VERSION: Code.PASS, Check.DISK: Code.NO_ROOM},
            work_s=1.5,
            travel_s=0.01,
            survey=Survey.model_validate(survey),
        ),
        "refused": Refused(
            address=_place(rich, Stage.TRAIN), refusal=WireCode.POLICY, rule="training_patients_at_least"
        ),
        "refused unread": Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL),
    }


def _papers() -> dict[str, str]:
    """The signed records that people send each other, as text, and the roster as an envelope in hex."""
    authority = certificate_pem(issue_authority(_TRANSPORT_KEY, name="ward", now=NOW)).decode()
    keys = {"transport_key": transport_pem(_TRANSPORT_KEY.public_key())}
    keys |= {"identity_key": identity_hex(IDENTITY_KEY.public_key())}
    coordinator = {"coordinator_key": identity_hex(COORDINATOR_KEY.public_key())}
    offer = {"federation": "ward", "site": SITE, "host": "fl.example", "fleet_port": 9092, "ca_certificate": authority}
    offer |= {"patient_salt": "5a" * 32, "token": "7e" * 32, "expires": NOW + 10**6, **coordinator}
    invitation = make_invitation(Offer.model_validate(offer), key=COORDINATOR_KEY)
    invited = read_invitation(invitation)
    entry = RosterEntry.model_validate({"site": SITE, "not_before": NOW, "not_after": NOW + 10**8, **keys})
    roster = Roster.model_validate({"federation": "ward", "version": 2, "entries": (entry,), **coordinator})
    return {
        "invitation": invitation.decode(),
        "join request": make_join_request(invited, transport_key=_TRANSPORT_KEY, identity_key=IDENTITY_KEY).decode(),
        "admission": _admission(),
        "key card": KeyCard.model_validate({"federation": "ward", "site": SITE, **keys, **coordinator})
        .encode()
        .decode(),
        "roster": sign_roster(roster, key=COORDINATOR_KEY).hex(),
    }


def record_messages(path: Path) -> None:
    """Write every kind of message and paper."""
    studies = _studies()

    def sealed(messages: dict[str, Message], key: Ed25519PrivateKey, signer: str, purpose: str) -> dict[str, str]:
        return {
            name: seal(encode(message), key=key, signer=signer, purpose=purpose).hex()
            for name, message in messages.items()
        }

    said = {
        "to site": sealed(_to_site(studies), COORDINATOR_KEY, COORDINATOR, to_site(SITE)),
        "to server": sealed(_to_server(studies), IDENTITY_KEY, SITE, TO_SERVER),
        "papers": _papers(),
        "digests": _contracts(studies),
        "terms": _TERMS.model_dump(mode="json"),
        "update": pack(_STATE).hex(),
    }
    path.write_text(json.dumps(said, indent=1) + "\n")


def record_folders(path: Path) -> None:
    """Write the folder of a site in the midst of a private study, and that of a federation with a finished study."""
    with tempfile.TemporaryDirectory() as name:
        lone = LoneSite(Path(name) / "ward", study=private(), lifetime_epsilon=1000, file=Path("/srv/images.npz"))
        open_study(lone, private(), ONE)
        train(lone, 1)
        lone.close()
        finished = finished_study(Path(name) / "lung")
        with tarfile.open(path, "w:gz", compresslevel=9) as archive:
            archive.add(lone.folder, "site", filter=_nobodys)
            archive.add(finished.place.federation, "federation", filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    os.umask(0o022)
    folder = RECORDED / VERSION
    folder.mkdir(parents=True)  # a recording is never made again
    record_messages(folder / "messages.json")
    record_folders(folder / "folders.tar.gz")
    print(f"{folder.relative_to(RECORDED.parent.parent)} was written.")
