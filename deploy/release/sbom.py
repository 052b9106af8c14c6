"""The contents list of a bundle: every wheel, as CycloneDX 1.6 in JSON (ECMA-424).

It says what each wheel says of itself in its METADATA (name, version, licence, what it needs), and the SHA-256 of the
file. Whether a package has a known weakness is for the reader's scanner, which takes this format. It holds no time and
no random serial number, so that two bundles of one commit have the same list.
"""

import email
import re
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path
from typing import Any, cast

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.lock import hash_of

_SPDX = re.compile(r"[A-Za-z0-9.+() -]+")


def bill_of_materials(wheels: Sequence[Path], *, root: str) -> dict[str, Any]:
    """The list, as JSON values.

    Args:
        wheels: every wheel of the bundle.
        root: the name of the package that the bundle is for.
    """
    read = sorted(((_metadata(wheel), wheel) for wheel in wheels), key=lambda one: canonicalize_name(one[0]["Name"]))
    known: dict[str, str] = {canonicalize_name(meta["Name"]): _purl(meta) for meta, _ in read}
    parts = {canonicalize_name(meta["Name"]): _component(meta, wheel) for meta, wheel in read}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": parts.pop(canonicalize_name(root))},
        "components": list(parts.values()),
        "dependencies": [
            {"ref": _purl(meta), "dependsOn": sorted({known[name] for name in _needs(meta) if name in known})}
            for meta, _ in read
        ],
    }


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def _component(meta: Message, wheel: Path) -> dict[str, Any]:
    licences = {"licenses": [said]} if (said := _licence(meta)) else {}
    return {
        "type": "library",
        "bom-ref": _purl(meta),
        "name": meta["Name"],
        "version": meta["Version"],
        "purl": _purl(meta),
        "hashes": [{"alg": "SHA-256", "content": hash_of(wheel)}],
        **licences,
    }


def _licence(meta: Message) -> dict[str, Any] | None:
    """The SPDX expression (PEP 639); else the classifiers' or the old field's words, as a name."""
    if (expression := meta["License-Expression"]) and _SPDX.fullmatch(expression):
        return {"expression": expression}
    named = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    words = "; ".join(named) or (meta["License"] or "").strip().partition("\n")[0]
    return {"license": {"name": words}} if words else None


def _needs(meta: Message) -> set[str]:
    """What it needs where the bundle is made, extras left out."""
    environment = {**cast("dict[str, str]", default_environment()), "extra": ""}
    needed = [Requirement(text) for text in meta.get_all("Requires-Dist") or []]
    return {canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate(environment)}


def _purl(meta: Message) -> str:
    return f"pkg:pypi/{canonicalize_name(meta['Name'])}@{meta['Version'].replace('+', '%2B')}"
