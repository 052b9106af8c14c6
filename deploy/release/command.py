"""The commands of a release, which `make lock` and `make bundle` type."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.release.bundle import download, make_bundle
from deploy.release.lock import Lock, read_lock, resolve
from shared.console import Answer, answering, facts, guarded
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.keys import fingerprint, identity_hex, load_identity_key

ROOT = Path(__file__).parents[2]
TITLES = {"cuda": "The default install, with torch for CUDA", "cpu": "The default install, with torch for CPUs"}

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make what a release is made of.")


def lock_path(variant: str) -> Path:
    """Where the lock of a variant lies in a checkout."""
    return ROOT / "deploy" / "lock" / f"requirements-{variant}.txt"


@app.command()
@answering("release.lock")
def lock(
    torch: Annotated[
        str, typer.Option(help="Folder or page with builds of torch for CPUs; without it only CUDA.")
    ] = "",
) -> Answer:
    """Resolve the default install anew, and write the locks with hashes."""
    links = {"cuda": None} | ({"cpu": torch} if torch else {})
    locks: dict[str, Lock] = {variant: resolve(ROOT, links=where) for variant, where in links.items()}
    for variant, found in locks.items():
        lock_path(variant).parent.mkdir(exist_ok=True)
        write_atomically(lock_path(variant), found.text(TITLES[variant]).encode())
    shown = {
        str(lock_path(variant).relative_to(ROOT)): f"{len(found.pins)} packages, Python {', '.join(found.pythons)}"
        for variant, found in locks.items()
    }
    return Answer({"locks": shown}, facts(shown))


@app.command()
@answering("release.bundle")
def bundle(
    wheel: Annotated[Path, typer.Argument(help="The wheel that `make dist` built.")],
    *,
    variant: Annotated[Literal["cpu", "cuda"], typer.Option(help="Which build of torch.")] = "cpu",
    key: Annotated[Path | None, typer.Option(help="The builder's Ed25519 key (PEM, mode 0600).")] = None,
    out: Annotated[Path, typer.Option(help="The folder for the bundle.")] = Path("dist"),
) -> Answer:
    """Write the bundle that installs without a network."""
    if not wheel.is_file():
        raise ConfigError(f"There is no wheel {wheel}.", remedy="Build it first: `make dist`.")
    signing = None if key is None else load_identity_key(key, role="builder's key")
    found = read_lock(lock_path(variant).read_text(encoding="utf-8"))
    made = make_bundle(wheel, found, variant=variant, out=out, fetch=download, key=signing)
    signed = (
        "no: give the builder's key by KEY=FILE"
        if signing is None
        else f"by the key {fingerprint(identity_hex(signing.public_key()))}"
    )
    shown = {"Bundle": made.path, "SHA-256": made.sha256, "Wheels": made.wheels, "Signed": signed}
    data = {"bundle": str(made.path), "sha256": made.sha256, "wheels": made.wheels, "signed": made.signed}
    return Answer(data, facts(shown))


def main() -> None:
    """Entry point of `python -m deploy.release`."""
    with guarded("release", as_json=False):
        app(prog_name="python -m deploy.release")
