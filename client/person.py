"""Who does something at a site, and why: as the ledger has it for ever, checked before anything is written."""

import getpass
from typing import Annotated

import typer
from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import ConfigError
from shared.plain_text import PlainLine

Person = Annotated[PlainLine, Field(min_length=1, max_length=100)]
Reason = Annotated[PlainLine, Field(max_length=500)]
By = Annotated[str | None, typer.Option("--by", help="Who does it; without it, the account's name.")]

_PERSON: TypeAdapter[str] = TypeAdapter(Person)
_REASON: TypeAdapter[str] = TypeAdapter(Reason)


def named_person(by: str | None) -> str:
    """Who was named, or else the account.

    Raises:
        ConfigError: it is no name that the ledger takes, or the account has none.
    """
    try:
        return _PERSON.validate_python((getpass.getuser() if by is None else by).strip())
    except ValidationError:
        raise ConfigError(
            "This name cannot stand in the ledger; nothing was done.",
            remedy="Give --by one line of 1 to 100 characters in UTF-8, without control characters.",
        ) from None
    except (KeyError, OSError):  # before Python 3.13, and since
        raise ConfigError("This account has no name; nothing was done.", remedy="Name yourself with --by.") from None


def stated_reason(reason: str | None) -> str | None:
    """What was given for a reason, if anything was.

    Raises:
        ConfigError: the ledger does not take it.
    """
    try:
        return None if reason is None else _REASON.validate_python(reason.strip()) or None
    except ValidationError:
        raise ConfigError(
            "This reason cannot stand in the ledger; nothing was done.",
            remedy="Give --reason one line of up to 500 characters in UTF-8, without control characters.",
        ) from None
