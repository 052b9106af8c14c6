"""What every part of a configuration, message or record is built on, and how one that does not fit is explained."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Section(BaseModel):
    """A frozen part of a configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def explain(file_kind: str, model: type[BaseModel], error: ValidationError) -> str:
    """Say which keys of a configuration are wrong, listing the known ones for an unknown key.

    Args:
        file_kind: what the reader calls the file, such as ``study``.
        model: the model that refused it.
        error: pydantic's account.
    """
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in item["loc"]) or file_kind
        if item["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key; known here: {', '.join(_known(model, item['loc'][:-1]))}")
        else:
            lines.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return f"The {file_kind} file cannot be used:\n  " + "\n  ".join(lines)


def _known(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        candidates = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)
