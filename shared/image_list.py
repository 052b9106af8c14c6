"""The list of the images that a site opened a study with: what the ledger holds of it, and how an auditor is shown it.

A list has one line of canonical JSON for each image, in the order of their bytes:

    image     SHA-256 of the file, and the image's place in it
    labels    as the study's task reads them
    patient   keyed hash, under a key of the site's that nobody else ever sees
    split     train, validation or test

The ledger holds HMAC-SHA256 (RFC 2104) of the list under the study's own key, and nothing else. That key follows
from the site's and the study's digest, so that who was shown one study's lists can read no other's, and two studies of
the same patients cannot be told to be such. Where a list lies at a site, `client/image_lists.py` says.
"""

import hmac
from typing import Annotated

from pydantic import Field, ValidationError

from shared.canonical import canonical, parse_canonical
from shared.errors import TrustError
from shared.fields import Digest, Name
from shared.section import Section

LONGEST_LIST = 256 << 20  # bytes of one list
LONGEST_SHOWN = 1 << 30  # bytes of what an auditor is shown, with all lists of a study
_DOMAIN = b"image-list\0"


class Listed(Section):
    """One line of a list."""

    image: Annotated[str, Field(pattern=r"^[0-9a-f]{64}/\d{1,12}$")]
    labels: Annotated[tuple[int, ...], Field(max_length=64)]
    patient: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    split: Annotated[str, Field(pattern=r"^(train|validation|test)$")]


class ShownLists(Section):
    """What a site shows an auditor: a study's key, and each list that the study was opened with."""

    site: Name
    study: Name
    study_digest: Digest
    key: Digest
    lists: tuple[str, ...]

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.model_dump(mode="json"))


def study_key(site_key: bytes, study_digest: str) -> bytes:
    """The key of one study, from which the site's does not follow."""
    return hmac.digest(site_key, _DOMAIN + study_digest.encode(), "sha256")


def manifest_of(key: bytes, listing: bytes) -> str:
    """What a ledger holds of a list: HMAC-SHA256 (hex) under the study's key."""
    return hmac.digest(key, listing, "sha256").hex()


def read_shown(data: bytes) -> ShownLists:
    """What is shown, from its bytes.

    Raises:
        TrustError: it is none.
    """
    try:
        return ShownLists.model_validate(parse_canonical(data))
    except (TrustError, ValidationError, RecursionError):
        raise _no_lists() from None


def read_list(text: str) -> list[Listed]:
    """The images of a list.

    Raises:
        TrustError: it is not in its form.
    """
    try:
        return [Listed.model_validate_json(line) for line in text.splitlines()]
    except ValidationError:
        raise _no_lists() from None


def _no_lists() -> TrustError:
    return TrustError(
        "This is not what `wardround site image-list` writes.", remedy="Ask the site for the lists of the study again."
    )
