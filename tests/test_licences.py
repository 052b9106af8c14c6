"""What the default install brings along is named, and may be passed on under Apache-2.0.

The licences are those that each package declares in its metadata (PEP 639 expression, classifiers,
or the old free field). GPL and AGPL fail; LGPL passes only by name and with a reason; a package
that declares nothing fails until someone has read its files.
"""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = ("shared", "server", "client", "deploy")
OURS = {*PACKAGES, *(path.stem for path in (ROOT / "tests").rglob("*") if path.is_dir() or path.suffix == ".py")}
# name -> why the LGPL's conditions are met
LGPL_WITH_REASON: dict[str, str] = {}
# name -> licence, for packages whose metadata says nothing; read from the files that they install
READ_BY_HAND: dict[str, str] = {}
# (file, library) of an extra, imported only where a person asks for what the extra is for
OF_AN_EXTRA = {
    *(("server/report/tracking.py", "mlflow"), ("tests/server/report/test_tracking.py", "mlflow")),
    *(("server/export/onnx_form.py", library) for library in ("onnx", "onnxruntime", "onnxscript")),
}

_COPYLEFT = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|Affero|(?<!Lesser )General Public License", re.IGNORECASE)
_LESSER = re.compile(r"\bLGPL|Lesser General Public|Library General Public", re.IGNORECASE)


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def default_install(root: str = "wardround") -> set[str]:
    """Names of everything that `pip install` of the root brings here, extras not asked for left out."""
    seen: set[tuple[str, str]] = set()
    waiting = [(root, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(normal(needed.name), asked) for asked in ("", *needed.extras)]
    return {name for name, _ in seen}


def licence(name: str) -> str:
    """What a package declares, in one line; empty when it declares nothing."""
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    meta = importlib.metadata.metadata(name)
    classifiers = [c for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    said = [meta.get("License-Expression"), "; ".join(c.rpartition(" :: ")[2] for c in classifiers)]
    return next((s for s in said if s), None) or (meta.get("License") or "").strip().partition("\n")[0]


def choices(text: str) -> Iterator[str]:
    """The alternatives of which the receiver may take one."""
    return (part.strip() for part in re.split(r"\s+(?:OR|or)\s+", text))


def verdict(name: str, text: str) -> str | None:
    """Why a package may not be in the default install, or None."""
    if not text:
        return f"{name} declares no licence; read its files and name it in READ_BY_HAND"
    if all(_COPYLEFT.search(choice) for choice in choices(text)):
        return f"{name} is under {text}"
    if all(_LESSER.search(choice) for choice in choices(text)) and name not in LGPL_WITH_REASON:
        return f"{name} is under {text}; if its conditions are met, say why in LGPL_WITH_REASON"
    return None


def test_the_default_install_may_be_passed_on() -> None:
    names = default_install()
    assert {"torch", "monai", "flwr", "wardround"} <= names
    assert "ray" not in names
    assert [said for name in sorted(names) if (said := verdict(name, licence(name)))] == []


def test_no_exception_outlives_its_package() -> None:
    assert (LGPL_WITH_REASON.keys() | READ_BY_HAND.keys()) <= default_install()


@pytest.mark.parametrize(
    "text",
    ["GPL-3.0-or-later", "AGPL-3.0-only", "GNU General Public License v3 (GPLv3)", "GPLv2", "GPL-2.0 OR AGPL-3.0"],
)
def test_copyleft_is_refused(text: str) -> None:
    assert verdict("x", text) is not None


@pytest.mark.parametrize("text", ["LGPL-3.0", "GNU Lesser General Public License v3 (LGPLv3)", ""])
def test_what_needs_a_reason_is_refused_without_one(text: str) -> None:
    assert verdict("x", text) is not None


@pytest.mark.parametrize("text", ["MIT", "Apache-2.0 OR GPL-2.0", "BSD License; MIT License", "MPL-2.0", "PSF-2.0"])
def test_permissive_is_let_in(text: str) -> None:
    assert verdict("x", text) is None


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """(file, library) of every import from outside this project and the standard library."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            tops = {name.partition(".")[0] for name in names} - OURS - sys.stdlib_module_names
            yield from ((path.relative_to(ROOT), top) for top in tops)


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_what_is_imported_is_named_in_pyproject(folder: str) -> None:
    """A library that only comes along with another one may stop coming."""
    providers = importlib.metadata.packages_distributions()
    needed = [Requirement(text) for text in importlib.metadata.requires("wardround") or []]
    named = {normal(r.name) for r in needed if folder == "tests" or r.marker is None}
    unnamed = {
        f"{path} imports {top}"
        for path, top in imported(ROOT / folder)
        if (str(path), top) not in OF_AN_EXTRA and not named & {normal(name) for name in providers.get(top, [])}
    }
    assert unnamed == set()
