"""`wardround site store` and `allow-store`: results of a released model into the site's PACS, once somebody signed."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.hours import within
from client.join import load_enrolment
from client.person import By, named_person
from client.prediction.store_consent import ENTRY, WITHDRAWN, StoreConsent, StoreConsents
from client.privacy.patients import patient_key
from client.settings import SiteSettings, load_settings
from client.site_folder import joined_folder
from client.waiting_entries import entries_said, keep_entry, note_now
from shared.console import Answer, answering, facts
from shared.errors import ConfigError, WardroundError
from shared.quiet import quiet

if TYPE_CHECKING:
    from client.pacs.settings import PacsSettings
    from client.pacs.storing import Stored

_LONGEST_DAYS = 3650
_LATER = "; the ledger says so with the agent's next work"


@answering("site.allow_store")
def allow_store(
    model: Annotated[str, typer.Argument(help="SHA-256 of the model's weights, as `predict` prints it.")],
    *,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back what was signed.")] = False,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> Answer:
    """Sign for the site that results of a model may be stored in its PACS."""
    from shared.clock import utc_now

    folder, person, now = joined_folder(config), named_person(by), utc_now()
    consents, model = StoreConsents(folder, load_enrolment(folder)), _digest(model)
    if withdraw:
        return _withdrawn(folder, consents, model, person=person, now=now)
    last, destination = _day(until), _pacs(load_settings(config)).label
    consent = StoreConsent(model=model, destination=destination, person=person, given=now, until=last)
    said = consent.model_dump(mode="json")
    keep_entry(folder, ENTRY, said)  # it is recorded before it can be used
    consents.give(consent)
    noted = note_now(folder, now=now)
    what = f"{person} has signed: results of this model may be stored in {destination} until {last}"
    return Answer(said | {"noted": noted}, f"{what}{'' if noted else _LATER}.")


@answering("site.store")
def store(
    answers: Annotated[Path, typer.Argument(help="What `predict --dicom-sr` or `--dicom-seg` wrote.")],
    *,
    config: Config = DEFAULT_CONFIG,
) -> Answer:
    """Store the DICOM SR and SEG of a folder of answers in the site's PACS; given again, it goes on where it was."""
    from client.pacs.storing import STORED, Stored
    from shared.clock import utc_now

    folder, settings = joined_folder(config), load_settings(config)
    pacs, hours = _pacs(settings), settings.policy.hours
    consents = StoreConsents(folder, load_enrolment(folder))

    def insist(model: str) -> None:
        command = about_site(config, "allow-store", model, "--until", "YYYY-MM-DD")
        consents.insist(model, destination=pacs.label, today=date.today(), command=command)

    for model in _models(answers):
        insist(model)
    said = (one.data for one in entries_said(folder, {STORED}))
    before = {str(one["instance"]) for one in said if one["destination"] == pacs.label}
    found, error = Stored(), None
    try:
        with quiet():
            _store(answers, pacs, folder, found, before=before, hours=hours, insist=insist)
    except WardroundError as caught:  # with the counts of what was stored all the same
        error = caught
    noted = note_now(folder, now=utc_now())
    return _told(found, pacs.label, noted=noted, error=error)


def _store(
    answers: Path,
    pacs: "PacsSettings",
    folder: Path,
    found: "Stored",
    *,
    before: set[str],
    hours: Sequence[str],
    insist: Callable[[str], None],
) -> None:
    from client.pacs.depot import depot_of
    from client.pacs.results import results_in
    from client.pacs.storing import SENT, store_results
    from shared.clock import utc_now

    with closing(depot_of(pacs, folder)) as depot:
        store_results(
            results_in(answers),
            depot,
            key=patient_key(folder),
            destination=pacs.label,
            before=before,
            in_hours=lambda: within(hours, datetime.now()),
            insist=insist,
            write=lambda kind, said: keep_entry(folder, kind, said | {"sent" if kind == SENT else "stored": utc_now()}),
            found=found,
        )


def _told(found: "Stored", destination: str, *, noted: bool, error: WardroundError | None) -> Answer:
    models = sorted(found.models)
    shown = {
        "in": destination,
        "model": ", ".join(models),
        "stored": f"{found.stored:,} results, {found.stored_bytes:,} bytes",
        "stored before": f"{found.already_there:,}",
        "ledger": "says so" if noted else "will say so with the agent's next work",
    }
    said = {"stored": found.stored, "stored_bytes": found.stored_bytes, "already_there": found.already_there}
    return Answer(said | {"destination": destination, "models": models, "noted": noted}, facts(shown), error)


def _models(answers: Path) -> list[str]:
    """Of the whole folder, so that nothing is stored where one file is no result."""
    from client.pacs.results import results_in

    if not answers.is_dir():
        raise ConfigError(f"{answers} is not a folder that is here.", remedy="Name the folder of `predict --out`.")
    return sorted({result.model for result in results_in(answers)})


def _pacs(settings: SiteSettings) -> "PacsSettings":
    found = settings.data.pacs
    if found is None:
        raise ConfigError("This site names no PACS.", remedy="Write [data.pacs] into site.toml; see docs/site-file.md.")
    return found


def _withdrawn(folder: Path, consents: StoreConsents, model: str, *, person: str, now: str) -> Answer:
    if not consents.known(model):
        raise ConfigError("Nothing was signed about this model.", remedy="Give the digest that was signed.")
    said = {"model": model, "person": person, "given": now}
    keep_entry(folder, WITHDRAWN, said)  # first: what is recorded holds, whatever becomes of the file
    consents.withdraw(model)
    noted = note_now(folder, now=now)
    return Answer(said | {"noted": noted}, f"Results of this model are stored no more{'' if noted else _LATER}.")


def _digest(model: str) -> str:
    if len(model) != 64 or set(model) - set("0123456789abcdef"):
        raise ConfigError("This is no SHA-256 of a model.", remedy="Give the 64 hex digits that `predict` prints.")
    return model


def _day(until: datetime | None) -> date:
    last, today = until.date() if until else None, date.today()
    if last is None or not 0 <= (last - today).days <= _LONGEST_DAYS:
        raise ConfigError(
            "Nothing says until when; nothing was signed.", remedy="Give --until YYYY-MM-DD, at most ten years ahead."
        )
    return last
