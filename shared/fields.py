"""Words that may stand in studies, rosters and messages: what a name, a class and a digest look like."""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
ClassName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,47}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{4}( [0-9a-f]{4}){7}$")]  # as `shared.keys.fingerprint` gives it


def is_name(text: str) -> bool:
    """Whether a study, a site or a federation can be called so."""
    try:
        TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return False
    return True
