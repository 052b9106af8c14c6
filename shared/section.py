"""What every part of a configuration, message or record is built on, and how one that does not fit is explained."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema


def _insist_on_numbers(schema: Any) -> None:
    """Make every number of a core schema strict; the keys of a mapping are texts in JSON, whatever they mean."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            schema["strict"] = True
        for key in schema.keys() - {"keys_schema", "default", "metadata"}:
            _insist_on_numbers(schema[key])
    elif isinstance(schema, list | tuple):
        for part in schema:
            _insist_on_numbers(part)


class Section(BaseModel):
    """A frozen part of a configuration that refuses unknown keys, and whatever is no number in a number's place.

    Pydantic alone would take true for 1 and "2" for 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _insist_on_numbers(schema)
        return schema


def wrong_keys(file_kind: str, model: type[BaseModel], error: ValidationError) -> str:
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


def says(record: BaseModel, given: Any) -> bool:
    """Whether a record holds each value of the JSON that it was read from, as it stood there.

    What was not given may have been filled in; a number given as text, a truth given as a number and a key that
    was passed over would let two texts be one record.
    """
    return _holds(record.model_dump(mode="json"), given)


def _holds(value: Any, given: Any) -> bool:
    if isinstance(given, dict):
        return isinstance(value, dict) and all(key in value and _holds(value[key], given[key]) for key in given)
    if isinstance(given, list) and set(map(type, given)) != {int}:  # runs of counts are compared at once, below
        return isinstance(value, list) and len(value) == len(given) and all(map(_holds, value, given))
    return bool(value == given) and isinstance(value, bool) is isinstance(given, bool)


def _known(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        candidates = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return sorted(model.model_fields)
