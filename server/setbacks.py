"""A site that does not count for now: written into the journal, said on the console, and told to the round."""

import time

from server.claim import AdmissionReason
from server.desk import Desk
from server.records import SiteHeld, SiteLost, SiteRefused, UpdateRefused
from server.rounds import Round
from shared.clock import utc_now
from shared.errors import TEMPLATES, WireCode
from shared.remarks import remark
from shared.version import VERSION
from shared.wire import Refused

_NOT_COUNTED = "{site} does not count in round {round}: {why}"


def lose(desk: Desk, state: Round, site: str, cause: str) -> None:
    """The line to a site is gone."""
    desk.write(SiteLost(round=state.number, site=site, cause=cause))
    gone = "{site}: the line is lost; the site is asked again when it is back."
    desk.say(remark(gone, level="warning", site=site, round=state.number))
    state.lost(site, cause, now=time.monotonic())


def remove(desk: Desk, state: Round, site: str) -> None:
    """A site is no longer on the roster, or its keys have expired."""
    desk.write(SiteLost(round=state.number, site=site, cause="removed"))
    gone = "{site} is no longer on the roster and is not asked any more."
    desk.say(remark(gone, level="warning", site=site, round=state.number))
    state.removed(site, now=time.monotonic())


def hold(desk: Desk, state: Round, site: str, code: WireCode) -> None:
    """A site says "not yet"; that is news once, however often it is asked."""
    before = desk.journal.history.held.get(site)
    if before is None or before.code is not code:
        desk.write(SiteHeld(round=state.number, site=site, code=code, since=utc_now()))
        desk.say(remark("{site}: {why}", site=site, round=state.number, code=code.value, why=TEMPLATES[code]))
    state.held(site, code.value, now=time.monotonic())


def reopen(desk: Desk, state: Round, site: str, code: WireCode) -> None:
    """A site has no study of that name open, or no contract that is in force: it is asked to open it."""
    if code is WireCode.CONTRACT_EXPIRED:
        anew = "{site}: {why} The study is opened there anew."
        desk.say(remark(anew, site=site, round=state.number, code=code.value, why=TEMPLATES[code]))
    state.lost(site, "opens the study anew", now=time.monotonic())


def refuse(desk: Desk, state: Round, site: str, cause: AdmissionReason | WireCode, detail: str) -> None:
    """What a site answered does not hold."""
    if isinstance(cause, WireCode):
        decline(desk, state, SiteRefused(round=state.number, site=site, code=cause), detail)
        return
    desk.write(UpdateRefused(round=state.number, site=site, reasons=(cause,), detail=detail))
    about = {"site": site, "round": state.number, "code": cause.value}
    desk.say(remark(_NOT_COUNTED, level="warning", why=detail, **about))
    state.refused(site, cause.value, now=time.monotonic())


def too_old(answer: Refused) -> str | None:
    """What is told of a site that did not understand what it was asked; None of one that said another no."""
    if answer.refusal is not WireCode.PROTOCOL:
        return None
    if answer.version == VERSION:
        return TEMPLATES[answer.refusal]
    return f"It has Wardround {answer.version}, which does not know what was asked. Upgrade as docs/upgrade.md says."


def decline(desk: Desk, state: Round, said: SiteRefused, detail: str | None = None) -> None:
    """A site said no, or might as well have."""
    desk.write(said)
    about = {"site": said.site, "round": said.round, "code": said.cause}
    desk.say(remark(_NOT_COUNTED, level="warning", why=detail or said.cause, **about))
    state.refused(said.site, said.cause, now=time.monotonic())
