"""What `site join` is told of a site's images, as the `[data]` table of its site.toml.

Decides which options go together, and insists that what they name is there; a PACS is first asked by `site pull`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from client.imaging.kinds import recognised
from client.imaging.settings import DataSettings
from shared.errors import ConfigError
from shared.section import wrong_keys

_DIMSE = re.compile(r"(?P<called>[^@/]{1,16})@(?P<host>[^@/]{1,253}):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class DataOptions:
    """The options as they were given; without a `kind` it is that of what lies there.

    `pacs` is the address of a DICOMweb service, or AE@HOST:PORT.
    """

    kind: Literal["dicom", "nifti", "pictures", "npz"] | None
    data: Path | None
    labels: Path | None
    pacs: str | None = None
    modalities: Sequence[str] = ()

    def settings(self) -> DataSettings:
        """The table.

        Raises:
            ConfigError: options are missing or do not go together, or name nothing that is here.
        """
        if (self.data is None) == (self.pacs is None):
            raise ConfigError(
                "The images are named by one of --data and --pacs; nothing was made.",
                remedy="Give --data FOLDER, or --pacs URL or --pacs AE@HOST:PORT with --modality.",
            )
        if bool(self.modalities) != (self.pacs is not None):
            raise ConfigError(
                "--modality and --pacs go together; nothing was made.",
                remedy="Say what a pull is to bring, such as --modality CR --modality DX; narrow it in site.toml.",
            )
        if self.kind is None:
            return replace(self, kind=self._recognised()).settings()
        made = self._made()
        self._check_there()
        return made

    def _recognised(self) -> Literal["dicom", "nifti", "pictures", "npz"]:
        if self.data is None:
            return "dicom"  # a PACS has no others
        if self.data.suffix.lower() == ".npz":
            return "npz"
        if not self.data.is_dir():
            raise _absent("--data", "folder")
        if (found := recognised(self.data)) is None:
            raise ConfigError(
                "Among the first files under --data is none of DICOM, NIfTI, PNG, JPEG or TIFF; nothing was made.",
                remedy="Correct --data; or give --kind dicom, nifti or pictures, if the images come later.",
            )
        return found

    def _made(self) -> DataSettings:
        whole = self.data.resolve() if self.data else None
        table: dict[str, Any] = {
            "kind": self.kind,
            "file": whole if self.kind == "npz" else None,
            "folder": whole if self.kind != "npz" else None,
            "labels": self.labels.resolve() if self.labels else None,
        }
        if self.pacs is not None:
            table["pacs"] = _spoken_to(self.pacs) | {"query": {"modalities": tuple(self.modalities)}}
        try:
            return DataSettings(**table)
        except ValidationError as error:
            remedy = "Give --labels, unless it is npz, which has its own."
            if self.pacs is not None:
                remedy = "Give --labels, and --pacs https://HOST/PATH or AE@HOST:PORT; a PACS has images of kind dicom."
            raise ConfigError(wrong_keys("data", DataSettings, error), remedy=remedy) from None

    def _check_there(self) -> None:
        is_file = self.kind == "npz"
        there = self.data is None or (self.data.is_file() if is_file else self.data.is_dir())
        for option, what, found in (
            ("--data", "file" if is_file else "folder", there),
            ("--labels", "file", self.labels is None or self.labels.is_file()),
        ):
            if not found:
                raise _absent(option, what)


def _absent(option: str, what: str) -> ConfigError:
    return ConfigError(
        f"{option} names no {what} that is here; nothing was made.", remedy=f"Correct {option} and join again."
    )


def _spoken_to(pacs: str) -> dict[str, Any]:
    """`[data.pacs.web]` or `[data.pacs.dimse]`."""
    if dimse := _DIMSE.fullmatch(pacs):
        return {"dimse": dimse.groupdict() | {"port": int(dimse["port"])}}
    return {"web": {"url": pacs}}
