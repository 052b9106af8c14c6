"""The fingerprint that two people compare by telephone before anybody is let in, as `wardround federation` asks it."""

import sys

import typer

from shared.errors import ConfigError, TrustError


def ask_person(brings: str, found: str, who: str) -> None:
    """Show a fingerprint before anything is written, and go on only with a yes.

    Args:
        brings: what brings the key, as the sentence before the fingerprint begins.
        found: the fingerprint.
        who: who should have read it.

    Raises:
        ConfigError: there is nobody to be asked.
        TrustError: the answer was no.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            f"Nobody was asked whether the fingerprint of {who} is right; nothing was written.",
            remedy=f"Have {who} read the fingerprint to you, and name it with --fingerprint.",
        )
    typer.echo(f"{brings} with the fingerprint\n\n    {found}\n", err=True)
    if not typer.confirm(f"Did {who} read this very fingerprint to you by telephone?", err=True):
        raise TrustError(
            f"{who} is not admitted; nothing was written.",
            remedy=f"Call {who} by a number that you know; if the fingerprint differs, the request is not theirs.",
        )


def check_fingerprint(has: str, found: str, *, expected: str, whose: str) -> None:
    """Hold a fingerprint against the one that was read; raises `TrustError` if it is another."""
    if "".join(expected.split()).lower() != found.replace(" ", ""):
        raise TrustError(
            f"{has} the fingerprint {found}; expected {expected}.",
            remedy=f"Have the fingerprint read again; if it differs, the {whose} is not theirs.",
        )
