"""A virtual federation on disk: one array file divided over sites, all provisioned, one study queued.

Decides what is simulated when little is said: drawn pictures without a file, and a study derived from
the file where none is given. How the study is run is left to the engines.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from client.imaging.settings import DataSettings
from client.settings import AboutSite, ComputeSettings, SiteSettings, write_settings
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.demo.cast import NPZ_STUDY, Cast, npz_cast
from deploy.local import TELLS_ALL
from deploy.partition import partition
from deploy.provision import provision
from server.launch import launch
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.clock import utc_now
from shared.errors import ConfigError
from shared.study import Study, parse_study

_TRAIN_IMAGES = 200  # of each drawn site: what a small hospital brings
_PORT = 9  # never dialled


@dataclass(frozen=True)
class Wish:
    """What to simulate.

    Attributes:
        study_file: the study; None derives one.
        npz: the images; None draws some.
        scheme: how they are divided; see `deploy.partition`.
        sites: how many virtual sites.
        rounds: instead of the study's own number; None leaves it.
        seed: of pictures, partition and a derived study.
        device: where the sites compute.
    """

    study_file: Path | None
    npz: Path | None
    scheme: str
    sites: int
    rounds: int | None
    seed: int
    device: str


@dataclass(frozen=True)
class VirtualFederation:
    """Where everything lies: the federation's folder, the folder of site folders, the queued study."""

    federation: Path
    sites: Path
    study: StudyFolder


def make_federation(root: Path, wish: Wish) -> VirtualFederation:
    """Divide the images, provision every site, queue the study.

    Raises:
        ConfigError: the study or the images cannot be used as asked.
    """
    cast = _cast(root / "images", wish)
    study = _study(cast, wish)
    places = provision(
        root,
        name="simulation",
        host="127.0.0.1",
        fleet_port=_PORT,
        sites=list(cast.data),
        now=int(time.time()),
        patient_salt=digest(f"wardround simulation {wish.seed}".encode()),
    )
    compute = ComputeSettings(device=wish.device, threads=1)
    for name, folder in places.sites.items():
        settings = SiteSettings(site=AboutSite(name=name), data=cast.data[name], compute=compute, policy=TELLS_ALL)
        write_settings(folder / "site.toml", settings)
    queued = launch(places.federation, study, source=cast.study_text, start_model=None, now=utc_now())
    return VirtualFederation(places.federation, root / "sites", queued)


def _cast(images: Path, wish: Wish) -> Cast:
    rounds = wish.rounds or 3
    if wish.npz is None:
        data = draw_sites(images, {f"site-{n}": _TRAIN_IMAGES for n in range(1, wish.sites + 1)}, seed=wish.seed)
        return Cast(data, _text(wish) if wish.study_file else _drawn_study(wish, rounds))
    if wish.study_file is None:
        return npz_cast(images, wish.npz, scheme=wish.scheme, sites=wish.sites, rounds=rounds, seed=wish.seed)
    return Cast(_divided(images, wish.npz, wish), _text(wish))


def _drawn_study(wish: Wish, rounds: int) -> str:
    return NPZ_STUDY.format(
        name="simulation",
        seed=wish.seed,
        mode="binary",
        classes='"spot"',
        size_px=SIDE_PX,
        channels=1,
        slices="",
        rounds=rounds,
        sites=wish.sites,
    )


def _divided(images: Path, npz: Path, wish: Wish) -> Mapping[str, DataSettings]:
    parts = partition(npz, scheme=wish.scheme, sites=wish.sites, seed=wish.seed, out=images)
    return {part.name: DataSettings(kind="npz", file=part.file) for part in parts}


def _text(wish: Wish) -> str:
    assert wish.study_file is not None
    try:
        return wish.study_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The study file {wish.study_file.name} cannot be read ({type(error).__name__}).",
            remedy="Name a study.toml; docs/study.md has an example.",
        ) from None


def _study(cast: Cast, wish: Wish) -> Study:
    study = parse_study(cast.study_text)
    if study.rounds.quorum > len(cast.data):
        raise ConfigError(
            f"The study's quorum is {study.rounds.quorum}; there are {len(cast.data)} sites.",
            remedy=f"Simulate with --sites {study.rounds.quorum} or more, or lower rounds.quorum.",
        )
    if wish.rounds is None:
        return study
    return study.model_copy(update={"rounds": study.rounds.model_copy(update={"count": wish.rounds})})
