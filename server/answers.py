"""A site's report of its work, or of its rehearsal, as the journal writes it down and as admission reads it."""

from server.claim import Claim
from server.ledger_records import SiteClosed
from server.records import OwnModelScored, SiteOpened, SiteRehearsed, SiteScored, SiteValidated, UpdateReady
from shared.wire import Closed, Opened, Ready, Rehearsed, Report


def opened_record(site: str, answer: Opened) -> SiteOpened:
    """The journal's entry about an opening."""
    return SiteOpened(site=site, **answer.model_dump(exclude={*Report.model_fields, "type", "terms"}))


def ready_record(site: str, number: int, answer: Ready) -> UpdateReady:
    """The journal's entry about a report in round `number`."""
    return UpdateReady(
        round=number,
        site=site,
        update_digest=answer.update_digest,
        update_bytes=answer.update_bytes,
        replayed=answer.replayed,
        late_from=answer.late.round if answer.late else None,
        scores=answer.scores,
        withheld=answer.withheld,
        seconds=answer.seconds,
        **answer.counts.model_dump(),
    )


def scored_at_closing(site: str, answer: Ready) -> SiteScored:
    """The journal's entry about the scores of the closing trip."""
    return SiteScored(site=site, model_digest=answer.model_digest, scores=answer.scores, withheld=answer.withheld)


def scored_after_rounds(site: str, answer: Ready, *, model: int) -> SiteValidated:
    """The journal's entry about the scores of a validation trip, of the model after round `model`."""
    return SiteValidated(
        site=site, model=model, model_digest=answer.model_digest, scores=answer.scores, withheld=answer.withheld
    )


def scored_own(site: str, answer: Ready, *, of: str) -> OwnModelScored:
    """The journal's entry about the scores of a site's own model."""
    return OwnModelScored(
        of=of, site=site, model_digest=answer.model_digest, scores=answer.scores, withheld=answer.withheld
    )


def last_word(site: str, answer: Rehearsed | Closed) -> SiteRehearsed | SiteClosed:
    """The journal's entry about an answer after which nothing more is asked of the site."""
    if isinstance(answer, Closed):
        return SiteClosed(site=site, head=answer.head, n=answer.ledger.n if answer.ledger else None)
    return SiteRehearsed(
        site=site,
        findings=answer.findings,
        work_s=answer.work_s,
        travel_s=answer.travel_s,
        survey=answer.survey,
    )


def claim_of(site: str, answer: Ready) -> Claim:
    """What the announced update says about itself."""
    return Claim(
        site=site,
        update_digest=answer.update_digest or "",
        update_bytes=answer.update_bytes,
        **answer.counts.model_dump(),
    )
