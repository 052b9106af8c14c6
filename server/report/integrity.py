"""By what a study can be checked: its digests, its journal, its owners, and the heads of its sites.

Says of each digest whether it holds for what lies on the disk now. Signatures are left to the auditor.
"""

from dataclasses import dataclass

from server.history import StudyHistory
from server.records import EpochClaimed
from server.report.evidence import Chain, Evidence, ModelFile


@dataclass(frozen=True)
class Epoch:
    """A process that owned the study, from this time on (RFC 3339, UTC)."""

    epoch: int
    since: str


@dataclass(frozen=True)
class Integrity:
    """Attributes:
    study_digest: of the study as it lies in the folder; `study_holds`: as the journal has it.
    model_digest: of the final (or last committed) model by the journal; `model_holds`: as its file has it.
    model_round: the rounds behind that model.
    epochs: every owner; a resume makes a further one.
    heads: by site, where its own ledger stood when it put the study away; none where sites are letters.
    contracts: by site, the digest of what it agreed to release; none where sites are letters.
    """

    study_digest: str
    study_holds: bool | None
    start_digest: str | None
    model_digest: str | None
    model_round: int
    model_file: ModelFile
    model_holds: bool | None
    chain: Chain
    epochs: tuple[Epoch, ...]
    heads: dict[str, str]
    contracts: dict[str, str]


def integrity_of(evidence: Evidence) -> Integrity:
    """What the folder holds against what the journal says."""
    history, started, file = evidence.history, evidence.history.started, evidence.model_file
    claims = ((time, said) for time, said in evidence.records if isinstance(said, EpochClaimed))
    return Integrity(
        study_digest=evidence.study_digest,
        study_holds=history.study_digest == evidence.study_digest if started else None,
        start_digest=started.start_digest if started else None,
        model_digest=history.final_digest,
        model_round=history.final_round,
        model_file=file,
        model_holds=file.digest == history.final_digest if history.final_digest and file.digest else None,
        chain=evidence.chain,
        epochs=tuple(
            Epoch(said.epoch, time.isoformat(timespec="seconds").replace("+00:00", "Z")) for time, said in claims
        ),
        heads={} if evidence.by_letter else {site: said.head for site, said in sorted(history.closed.items())},
        contracts={} if evidence.by_letter else _contracts(history),
    )


def _contracts(history: StudyHistory) -> dict[str, str]:
    return {site: opened.contract_digest for site, opened in sorted(history.opened.items())}
