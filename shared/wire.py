"""The messages of a study: every body that an envelope may carry, in each direction.

A message is addressed by (study, epoch, round, attempt, stage) and is idempotent at that address.
Tensors never stand inside a body: a body names the SHA-256 of the payload that travels beside it.
The stages of a study are, in order:

    open      server: the study, tensor table, cohort        site: Opened (contract, counts)
    train     server: Work + model, slot maybe granted       site: Ready (+ update if granted)
    upload    server: Grant of a slot                        site: Uploaded + update
    validate  server: Work + model (validation trip)         site: Ready (validation metrics only)
    evaluate  server: Work + model (closing trip)            site: Ready (metrics only)
    close     server: Close with the last receipts           site: Closed

A rehearsal (`shared/rehearsal.py`) opens nothing: it is one question, Rehearse with the start model, and
one answer, Rehearsed; a Close ends it before its time. Both bear a higher number than the others
(`shared/protocol.py`), by which a site that knows no rehearsal refuses it.

Open, Work and Close may carry the site's newest admission (`shared/admission.py`), until the site has answered
one that did.

A site may answer any of them with Refused, which holds a code and perhaps the key of its policy. Receipts ride on
the next message to the same site. A message whose address names a stage that its type has no place
in is no message of this protocol; a site that has not opened the study, or has lost it, is sent Open
in the midst of a round, at that round's number and the stage open.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from shared.address import Address, Stage
from shared.canonical import canonical, parse_canonical
from shared.errors import TrustError, WireCode
from shared.fields import Digest, Fingerprint, Name
from shared.heads import Head, Held, Losses
from shared.metrics import Score
from shared.protocol import PROTOCOL, insist_on_readable
from shared.receipt import Receipt
from shared.rehearsal import Coarse, Findings
from shared.section import Section, says
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.survey import Survey
from shared.update import TensorSpec
from shared.version import VERSION

TO_SERVER = "wardround to server"  # envelope purposes: an envelope for one reader is void for another
MOST_AMENDMENTS = 64  # of one study
Sealed = Annotated[str, Field(pattern=r"^[0-9a-f]{2,4096}$")]  # an amendment as it was signed, in hex
PolicyKey = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,47}$")]
Count = Annotated[int, Field(ge=0, le=2**40)]
Claimed = Annotated[int, Field(ge=-(2**40), le=2**40)]
# What the worker fills in has a closed form: it opens images, and must not be able to say more.
Device = Annotated[str, Field(pattern=r"^(cpu|mps|cuda:\d{1,2})$")]
Software = dict[
    Literal["wardround", "python", "torch", "numpy"], Annotated[str, Field(pattern=r"^\d[0-9A-Za-z.+-]{0,63}$")]
]
Carried = Annotated[str, Field(max_length=32_768)]  # an admission, as it was signed
Receipts = Annotated[tuple[Receipt, ...], Field(max_length=8)]
Seconds = dict[Literal["score", "train"], Annotated[float, Field(ge=0, le=1e9)]]


def to_site(site: str) -> str:
    """The envelope purpose of messages to one site; another site's envelope does not open with it."""
    return f"wardround to site {site}"


class Message(Section):
    """What every body shares. Whoever gives a number up writes higher ones, so a message may bear any that is read."""

    protocol: Annotated[int, Field(ge=1, le=PROTOCOL)] = 1
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+-]{1,32}$")] = VERSION  # the sender's software
    address: Address


# ------------------------------------------------------------------ server to site


class Open(Message):
    """The study as it is now, with its amendments; the site answers with its contract digest.

    `fingerprints` are those of the cohort's keys on the roster, by site: a site compares them with its peers.
    The payload is the study's frozen backbone, if it has one: a site that has that file does not fetch it.
    """

    type: Literal["open"] = "open"
    study: Study
    tensors: tuple[TensorSpec, ...]
    cohort: tuple[Name, ...]
    fingerprints: dict[Name, Fingerprint] = Field(default_factory=dict)
    payload_bytes: Count = 0
    amendments: Annotated[tuple[Sealed, ...], Field(max_length=MOST_AMENDMENTS)] = ()
    admission: Carried | None = None


class Work(Message):
    """Train or evaluate on the model that travels as payload.

    `previous_digest` chains models: it is the model of the round or trip before (None in round 1).
    `slot_bytes` is a pre-granted upload slot; 0 means report ready and wait for a Grant. `counted_round`
    is the last round in which this site counted (0: none): the site goes on from what it kept then.
    `heads` is the root of all sites' last heads, and what the coordinator holds of this site.
    """

    type: Literal["work"] = "work"
    study_digest: Digest
    model_digest: Digest
    previous_digest: Digest | None
    payload_bytes: Count
    slot_bytes: Count
    counted_round: Count = 0
    receipts: Receipts = ()
    heads: Held | None = None
    admission: Carried | None = None


class Grant(Message):
    """A slot to upload the update that the site reported ready; lost after `lease_s` without progress."""

    type: Literal["grant"] = "grant"
    update_digest: Digest
    lease_s: float


class Close(Message):
    """The study is over (or stopped) for this site."""

    type: Literal["close"] = "close"
    reason: Literal["finished", "stopped", "failed"]
    receipts: Receipts = ()
    heads: Held | None = None
    admission: Carried | None = None


class Rehearse(Message):
    """Do what a round of this study would ask, on the start model that travels as payload, and release nothing of it.

    `sent_at` is the server's time, in seconds since 1970; `survey` asks for counts, too (`shared/survey.py`).
    """

    type: Literal["rehearse"] = "rehearse"
    protocol: Annotated[int, Field(ge=2, le=PROTOCOL)] = 2
    study: Study
    tensors: tuple[TensorSpec, ...]
    model_digest: Digest
    payload_bytes: Count
    survey: bool = False
    sent_at: Annotated[float, Field(ge=0, le=2**40)]


# ------------------------------------------------------------------ site to server


class Report(Message):
    """What shows where its site's ledger has got to: `ledger` is the entry before the release itself.

    The door writes it; a report without one counts as none. `lost` is what the site has declared of its end.
    """

    ledger: Head | None = None
    lost: Losses = ()


class Counts(Section):
    """What the site says it worked on: images and patients trained on, optimiser steps taken.

    Whether the numbers are plausible, their sign included, is admission's matter.
    """

    examples: Claimed
    patients: Claimed
    steps: Claimed


class Opened(Report):
    """The site agrees: its contract's digest, what it adds to it, and how many patients it brings per split."""

    type: Literal["opened"] = "opened"
    contract_digest: Digest
    terms: SiteTerms
    patients: dict[Literal["train", "validation", "test"], Count]
    examples: dict[Literal["train", "validation", "test"], Count]
    device: Device
    fell_back: bool  # the site's configuration says auto, and it found no GPU
    threads: Count
    software: Software


class Late(Section):
    """The round that work was done for, and the model that it started from; the round closed without it."""

    round: Count
    model_digest: Digest


class Ready(Report):
    """The round's work is done, spooled, and released.

    `update_digest` is None for a scoring-only trip. `uploaded` says that the update travels with
    this message. `seconds` are durations by phase. `late` says that the update is not of the round of
    the address, but of an earlier one; it brings no scores then, which would be of another model.
    `withheld` are splits that were scored, on too few patients for the site's policy to tell.
    """

    type: Literal["ready"] = "ready"
    model_digest: Digest
    update_digest: Digest | None
    update_bytes: Count
    uploaded: bool
    replayed: bool  # from the site's spool: no new work, no new privacy spent
    counts: Counts
    scores: tuple[Score, ...]
    seconds: Seconds
    late: Late | None = None
    withheld: tuple[Literal["validation", "test"], ...] = ()


class Uploaded(Report):
    """The update travels with this message."""

    type: Literal["uploaded"] = "uploaded"
    update_digest: Digest
    update_bytes: Count


class Closed(Report):
    """The site has put the study away. `head` is the site's last ledger head (hash)."""

    type: Literal["closed"] = "closed"
    head: Digest


class Rehearsed(Message):
    """How the checks of a rehearsal came out. `contract_digest` is of the rehearsal's own contract.

    `work_s` is how long the work of a round is going to take at this site, `travel_s` how long the start
    model was on its way; None where the site did not get so far.
    """

    type: Literal["rehearsed"] = "rehearsed"
    protocol: Annotated[int, Field(ge=2, le=PROTOCOL)] = 2
    contract_digest: Digest
    findings: Findings
    work_s: Coarse | None = None
    travel_s: Coarse | None = None
    survey: Survey | None = None


class Refused(Message):
    """No, with a code; never with an explanation of the site's own making.

    `rule` is the key of the site's policy that says no, if one does: its name, and not its value.
    """

    type: Literal["refused"] = "refused"
    refusal: WireCode
    rule: PolicyKey | None = None


FromServer = Open | Work | Grant | Close | Rehearse
FromSite = Opened | Ready | Uploaded | Closed | Rehearsed | Refused

_PLACES: dict[str, tuple[Stage, ...]] = {
    "open": (Stage.OPEN,),
    "work": (Stage.TRAIN, Stage.VALIDATE, Stage.EVALUATE),
    "grant": (Stage.UPLOAD,),
    "close": (Stage.CLOSE,),
    "rehearse": (Stage.REHEARSE,),
    "opened": (Stage.OPEN,),
    "ready": (Stage.TRAIN, Stage.VALIDATE, Stage.EVALUATE),
    "uploaded": (Stage.UPLOAD,),
    "closed": (Stage.CLOSE,),
    "rehearsed": (Stage.REHEARSE,),
    "refused": tuple(Stage),
}

_TO_SITE: TypeAdapter[Any] = TypeAdapter(Annotated[FromServer, Field(discriminator="type")])
_TO_SERVER: TypeAdapter[Any] = TypeAdapter(Annotated[FromSite, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """Canonical bytes of a message body."""
    return canonical(message.model_dump(mode="json"))


def decode_to_site(body: bytes) -> FromServer:
    """Read a body that the server signed.

    Raises:
        ProtocolError: of a protocol number that is not read here (`shared/protocol.py`).
        TrustError: not canonical, not a message of its protocol, or of a type foreign to its stage.
    """
    return _decode(_TO_SITE, body)  # type: ignore[no-any-return]


def decode_to_server(body: bytes) -> FromSite:
    """Read a body that a site signed; raises as `decode_to_site`."""
    return _decode(_TO_SERVER, body)  # type: ignore[no-any-return]


def has_place(message: Message) -> bool:
    """Whether the message's address names a stage that its type has a place in."""
    return message.address.stage in _PLACES.get(getattr(message, "type", ""), ())


def _decode(adapter: TypeAdapter[Any], body: bytes) -> Any:
    value = parse_canonical(body)
    said = value if isinstance(value, dict) else {}
    insist_on_readable(said.get("protocol"), sender=str(said.get("version")))
    try:
        message = adapter.validate_json(body)
        same = says(message, value)
    except ValidationError:
        same = False
    if not same:
        raise TrustError("A signed message has fields outside its type.", remedy="Compare the two sides' versions.")
    if not has_place(message):
        raise TrustError(
            f"A signed message of type {message.type} names the stage {message.address.stage}.",
            remedy="Compare the two sides' versions.",
        )
    return message
