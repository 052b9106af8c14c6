"""The spool: updates that arrived whole, one file per round and site, kept until the round is over.

Receives and finds; whether an update counts is decided by admission, and an update found after a
restart is read again there. A file under its name is complete: its digest is part of the name.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Self

from server.growing import GrowingFile, disk_refused, remove_partial
from shared.errors import TrustError

_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ROUND = re.compile(r"round-(\d{5,})")


class UpdateSpool:
    """The spool folder of one study; made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[Path, str] = {}  # path -> SHA-256, of what arrived through this object
        folder.mkdir(exist_ok=True)

    def digest_of(self, path: Path) -> str:
        """SHA-256 (hex) of an update here; what an earlier process wrote is read again."""
        if path in self._written:
            return self._written[path]
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def writer(self, number: int, site: str, *, size: int) -> "SpoolWriter":
        """Start to take in a site's update of round `number`, at most `size` bytes.

        Raises:
            ResourceError: the disk refused.
        """
        folder = self._round(number)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise disk_refused(error) from None
        return SpoolWriter(GrowingFile(folder / _checked(_SITE, site)), size=size, written=self._written)

    def find(self, number: int, site: str, digest: str) -> Path | None:
        """The update of a site with this SHA-256, if it arrived whole."""
        path = _named(self._round(number) / _checked(_SITE, site), digest)
        return path if path.is_file() else None

    def held(self, number: int) -> set[str]:
        """Sites whose update of round `number` is here."""
        return {path.name.partition(".")[0] for path in self._round(number).glob("*.safetensors")}

    def forget_before(self, number: int) -> None:
        """Remove the updates of earlier rounds, and what any process left unfinished."""
        remove_partial(self._folder)
        for folder in self._folder.iterdir():
            match = _ROUND.fullmatch(folder.name)
            if match and int(match[1]) < number:
                shutil.rmtree(folder, ignore_errors=True)
        self._written = {path: digest for path, digest in self._written.items() if path.exists()}

    def _round(self, number: int) -> Path:
        return self._folder / f"round-{number:05d}"


class SpoolWriter:
    """One update on its way in; leave its ``with`` block uncommitted and nothing stays behind."""

    def __init__(self, file: GrowingFile, *, size: int, written: dict[Path, str]) -> None:
        self._file = file
        self._size = size
        self._written = written

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self._file.size

    def write(self, chunk: bytes | memoryview) -> None:
        """Take in the next bytes.

        Raises:
            TrustError: more bytes than expected; nothing was kept of them.
            ResourceError: the disk refused.
        """
        if self.received + memoryview(chunk).nbytes > self._size:
            self.abort()
            raise TrustError(
                f"An update is larger than the {self._size} bytes that were expected.",
                remedy="Compare the software versions of the site and the server.",
            )
        self._file.write(chunk)

    def commit(self, digest: str) -> Path:
        """Keep the update under its digest; another update of the site for the round makes way.

        Raises:
            TrustError: the bytes do not have this SHA-256; nothing was kept.
            ResourceError: the disk refused.
        """
        if self._file.digest != digest:
            self.abort()
            raise TrustError(
                "An update arrived with other bytes than its site signed.", remedy="The site is asked to send it again."
            )
        site = self._file.target
        self._file.target = _named(site, digest)
        path = self._file.finish()
        self._written[path] = digest
        for other in site.parent.glob(f"{site.name}.*"):
            if other != path:
                other.unlink(missing_ok=True)
        return path

    def abort(self) -> None:
        """Forget the bytes; after `commit` this does nothing."""
        self._file.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def _named(site: Path, digest: str) -> Path:
    return site.with_name(f"{site.name}.{_checked(_DIGEST, digest)}.safetensors")


def _checked(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ValueError("a site's name or a digest is not in its form")
    return text
