"""One Orthanc for the tests of this folder, and sites that point at it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacs_bed import certificates, instances

from deploy.bench.orthanc import TITLE, Orthanc, installed
from deploy.bench.relay import Relay


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """The PACS of `pacs_bed`; absence fails under CI."""
    if installed() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a PACS: apt-get install orthanc orthanc-dicomweb")
        pytest.skip("no Orthanc here: apt-get install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("pacs")
    pem, ca = certificates(folder)
    with Orthanc(folder / "orthanc", pem=pem, ca=ca) as running:
        files = list(instances().values())
        assert running.store(files) == len(files)
        yield running


@pytest.fixture(scope="module")
def front(orthanc: Orthanc) -> Iterator[str]:
    """The address of the Orthanc behind TLS."""
    with Relay(orthanc.web_port, pem=orthanc.pem) as relay:
        yield f"https://127.0.0.1:{relay.port}/dicom-web"


@pytest.fixture
def web_site(orthanc: Orthanc, front: str, tmp_path: Path) -> Callable[..., Path]:
    """The site.toml of a site that asks the Orthanc by DICOMweb; words of the query, and more tables."""
    return lambda query, more="", **changes: _site(tmp_path, orthanc, query, more, **({"url": front} | changes))


@pytest.fixture
def dimse_site(orthanc: Orthanc, tmp_path: Path) -> Callable[..., Path]:
    """As `web_site`, by DIMSE over TLS; more keys of `[data.pacs.dimse]`."""
    shown = f'certificate = "{orthanc.pem}"\nkey = "{orthanc.pem}"'

    def write(query: str, keys: str = "", *, called: str = TITLE) -> Path:
        to = f'host = "127.0.0.1"\nport = {orthanc.dicom_port}\ncalled = "{called}"\ntls = true\n{keys}'
        return _config(tmp_path, f'ca = "{orthanc.ca}"\n{shown}', f"dimse]\n{to}", query)

    return write


def _site(folder: Path, orthanc: Orthanc, query: str, more: str, **changes: str) -> Path:
    shutil.copy(orthanc.login_file, folder / "login")
    pacs = f'ca = "{changes.get("ca", orthanc.ca)}"\n{changes.get("pacs", "")}'
    return _config(folder, pacs, f'web]\nurl = "{changes["url"]}"\nlogin_file = "login"', query, more)


def _config(folder: Path, pacs: str, way: str, query: str, more: str = "") -> Path:
    config = folder / "site.toml"
    config.write_text(
        '[site]\nname = "ward-a"\n[data]\nkind = "dicom"\nlabels = "labels.csv"\n'
        f"[data.pacs]\n{pacs}\n[data.pacs.{way}\n[data.pacs.query]\n{query}\n{more}\n"
    )
    return config
