"""The account of a site's own images, under its settings: the splits of its federation, without who has withdrawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client.imaging.account import Account
from client.imaging.labels import label_columns
from client.imaging.screening import Screen
from client.imaging.site_table import KEYS
from client.imaging.sources import Kind, open_source
from client.imaging.survey import survey
from client.join import load_invitation
from client.privacy.patients import patient_key
from client.privacy.withdrawn import Withdrawn
from client.settings import FILE_NAME, SiteSettings, load_settings
from shared.study import Study


@dataclass(frozen=True)
class SiteAccount:
    """An account, and what the site's own terminal may show beside it.

    Attributes:
        account: what is counted.
        kind: what the images are read as.
        unmapped: words of labels that the study lacks and that may be shown, with their patients.
        columns: what those of the label table are called here; None where there is none.
    """

    account: Account
    kind: Kind
    unmapped: dict[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None


def account_of_site(folder: Path, study: Study | None, say: Callable[[str], None] = lambda _: None) -> SiteAccount:
    """Read every image of a site once, and count.

    Args:
        folder: the site's.
        study: whose images and classes are counted, if there is one.
        say: hears how far it is, now and then.

    Raises:
        ConfigError, ResourceError: as `load_settings`, `load_invitation` and `open_source`.
        TrustError: the key of the patients' hashes is damaged, or readable by others.
    """
    settings, task = load_settings(folder / FILE_NAME), study.task if study else None
    source = open_source(
        settings.data,
        task=task,
        salt=bytes.fromhex(load_invitation(folder).patient_salt),
        base=folder,
        images=study.images if study else None,
        labels=settings.labels,
        clinical=study.clinical if study else None,
    )
    screen = Screen(patient_key(folder), withdrawn=Withdrawn(folder).patients())
    found = survey(source, settings=settings.data, task=task, screen=screen, say=say)
    unmapped = source.unmapped.shown(smallest_cell=settings.policy.smallest_cell)
    return SiteAccount(found, settings.data.kind, unmapped, _columns(folder, settings))


def _columns(folder: Path, settings: SiteSettings) -> tuple[str, ...] | None:
    kind, table = settings.data.kind, settings.data.labels
    return label_columns(folder / table, keys=KEYS[kind], settings=settings.labels) if table else None
