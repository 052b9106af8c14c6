"""A real PACS on this machine: Orthanc with its DICOMweb plug-in, on free loopback ports, in a folder of its own.

Decides how it is configured: it admits its one user, stores for anybody here, and sends (C-MOVE) to one place. It
speaks HTTP without TLS: Debian's build ends at once with it. What is stored in it and asked of it is the benchmark's
matter. Killed at the end: nobody needs what it holds.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from client.pacs.multipart import only_part
from shared.errors import ResourceError
from shared.loopback import free_port

TITLE, OURS = "ORTHANC", "WARDROUND"
USER, PASSWORD = "ward", "of-nobody"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_DYING = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()  # ends with us, however we end
_PLACE = (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018"))  # of an instance, by its UIDs
_PATIENCE_S = 60.0
_TURN_S = 0.05


def installed() -> str | None:
    """The program, if it and its plug-in are here."""
    return shutil.which("Orthanc") if PLUGIN.exists() else None


class Orthanc:
    """One; in use between `__enter__` and `__exit__`.

    Args:
        folder: a new one, for everything of it.
        pem: certificate and key in one file, for DICOM TLS; None speaks it plainly.
        ca: whom the certificate is from.

    Attributes:
        web_port: HTTP, the DICOMweb plug-in's.
        dicom_port: DIMSE.
        storage_port: where it sends what is moved to `OURS`.
        pem, ca: as given.
        login_file: its user and password, as a site keeps them.

    Raises:
        ResourceError: it is not installed.
    """

    def __init__(self, folder: Path, *, pem: Path | None = None, ca: Path | None = None) -> None:
        program = installed()
        if program is None:
            raise ResourceError(
                "Orthanc and its DICOMweb plug-in are not here.", remedy="apt-get install orthanc orthanc-dicomweb"
            )
        self._folder, self._program, self.pem, self.ca = folder, program, pem, ca
        self.web_port, self.dicom_port, self.storage_port = free_port(), free_port(), free_port()
        self.login_file = folder / "login"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its DICOMweb service."""
        return f"http://127.0.0.1:{self.web_port}/dicom-web"

    def client(self) -> httpx.Client:
        """Somebody who is admitted; for one use, then closed."""
        return httpx.Client(auth=(USER, PASSWORD), trust_env=False, timeout=_PATIENCE_S)

    def store(self, files: list[bytes]) -> int:
        """Store files one by one (STOW-RS, PS3.18 10.5); how many it accepted."""
        kind = 'multipart/related; type="application/dicom"; boundary=file'
        with self.client() as client:
            bodies = (b"--file\r\nContent-Type: application/dicom\r\n\r\n" + f + b"\r\n--file--\r\n" for f in files)
            answers = (client.post(f"{self.url}/studies", content=b, headers={"Content-Type": kind}) for b in bodies)
            return sum(answer.status_code == httpx.codes.OK for answer in answers)

    def held(self, modality: str) -> list[bytes]:
        """The files of a modality, read back one by one (QIDO-RS, WADO-RS; PS3.18 10.6, 10.4)."""
        kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        with self.client() as client:
            found = client.get(f"{self.url}/instances", params={"Modality": modality}).raise_for_status().json()
            places = ["/".join(f"{word}/{one[tag]['Value'][0]}" for word, tag in _PLACE) for one in found]
            answers = (client.get(f"{self.url}/{place}", headers={"Accept": kind}) for place in places)
            whole = ((answer.headers["Content-Type"], [answer.raise_for_status().content]) for answer in answers)
            return [b"".join(only_part(form, body)) for form, body in whole]

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        self.login_file.write_text(f"{USER}:{PASSWORD}\n")
        self.login_file.chmod(0o600)
        (self._folder / "orthanc.json").write_text(json.dumps(self._configuration()))
        with (self._folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_DYING, self._program, str(self._folder / "orthanc.json")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._await()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE_S
        with self.client() as client:
            while not _answers(client, self.url):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ResourceError("Orthanc does not start.", remedy="Free the disk; its log is orthanc.log.")
                time.sleep(_TURN_S)

    def _configuration(self) -> dict[str, object]:
        storage = str(self._folder / "storage")
        site = {"AET": OURS, "Host": "127.0.0.1", "Port": self.storage_port, "UseDicomTls": self.pem is not None}
        return {
            "Name": "bench",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "Plugins": [str(PLUGIN)],
            "HttpPort": self.web_port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomAet": TITLE,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomModalities": {"site": site},
            "DicomAlwaysAllowStore": True,
            "SaveJobs": False,
        } | self._tls()

    def _tls(self) -> dict[str, object]:
        if self.pem is None:
            return {}
        return {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(self.pem),
            "DicomTlsPrivateKey": str(self.pem),
            "DicomTlsTrustedCertificates": str(self.ca),
            "DicomTlsRemoteCertificateRequired": False,
        }


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/studies", params={"limit": 1}).is_success
    except httpx.TransportError:
        return False
