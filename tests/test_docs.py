"""The documents that state what the code does are held against the code."""

import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from client.settings import SiteSettings
from deploy.cli import load
from shared import console, errors
from shared.study import Study, parse_study

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
RECORDS = sorted(ROOT.glob("docs/adr/*.md"))
RECORD_PARTS = ["Context", "Options", "Choice", "Consequence"]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row of a document, heads and rules left out."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not set(line) <= set("|-: "):
            yield cells


# ------------------------------------------------------------------ exit codes


def failures() -> set[tuple[str, str]]:
    """(exit code, error code) of every error class that can end a command."""
    found, waiting = set(), [errors.WardroundError]
    while waiting:
        kind = waiting.pop()
        found.add((str(kind.exit_code), f"`{kind.code}`"))
        waiting += kind.__subclasses__()
    return found


def test_the_exit_codes_are_those_of_the_errors() -> None:
    table = [cells for cells in rows((ROOT / "docs/exit-codes.md").read_text()) if cells[0].isdigit()]
    assert {(exit_code, code) for exit_code, code, *_ in table if code} == failures()
    assert [exit_code for exit_code, code, *_ in table if not code] == ["0", "2"]
    assert all(meaning for _, _, meaning, _ in table)


def test_every_error_class_stands_in_the_tree_at_the_top() -> None:
    drawn = dict(re.findall(r"(\w+) +(\d+)    ", errors.__doc__ or ""))
    classes = inspect.getmembers(errors, inspect.isclass)
    public = {n: k for n, k in classes if issubclass(k, errors.WardroundError) and n != "WardroundError"}
    assert drawn == {name: str(kind.exit_code) for name, kind in public.items()}


def test_the_envelope_in_the_document_is_the_real_one() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text()
    assert console.envelope("federation.roster", console.Answer({"sites": []})) in text


# ------------------------------------------------------------------ study.toml and site.toml

FILES = {"study": Study, "site-file": SiteSettings}


def sections(file: str) -> dict[str, dict[str, Any]]:
    """Section -> its part of the JSON schema of a file."""
    schema = FILES[file].model_json_schema()
    return dict(inner(schema, schema["$defs"], ""))


def inner(part: dict[str, Any], known: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sections of a section, by their names from the file on, each without those inside it."""
    for key, field in part["properties"].items():
        section, label = section_of(field, known), f"{name}{key}{'.NAME' * bool(values_of(field))}"
        if section is not None:
            own = {k: f for k, f in section["properties"].items() if section_of(f, known) is None}
            yield label, section | {"properties": own}
            yield from inner(section, known, f"{label}.")


def section_of(field: dict[str, Any], known: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a key is, or any of a table of them, if it is one."""
    parts = [field, *field.get("anyOf", []), *values_of(field)]
    references = (part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part)
    return next((known[name] for name in references if "properties" in known[name]), None)


def values_of(field: dict[str, Any]) -> list[dict[str, Any]]:
    """What a table of named things has as its values; nothing of another key."""
    return [
        value for value in (*field.get("patternProperties", {}).values(), field.get("additionalProperties")) if value
    ]


def allowed(field: dict[str, Any]) -> str | None:
    """What the schema permits, in the words of the documents; None where words say it better."""
    either = [choice for choice in field.get("anyOf", []) if choice.get("type") != "null"]
    if len(either) > 1:
        words = [allowed(choice) for choice in either]
        return ", or ".join(word for word in words if word) if all(words) else None
    field = either[0] if either else field
    if choices := field.get("enum") or ([field["const"]] if "const" in field else None):
        return ", ".join(f"`{choice}`" for choice in choices)
    if field["type"] == "boolean":
        return "`true`, `false`"
    if field["type"] not in {"integer", "number"}:
        return None
    low = f"above {field['exclusiveMinimum']}" if "exclusiveMinimum" in field else f"from {field['minimum']}"
    if "exclusiveMaximum" in field:
        return f"{low}, below {field['exclusiveMaximum']}"
    return f"{low} to {field['maximum']}" if "maximum" in field else low


def default(name: str, section: dict[str, Any]) -> str:
    """A key's default as TOML writes it."""
    if name in section.get("required", []):
        return "required"
    value = section["properties"][name].get("default")
    return "none" if value is None else f"`{json.dumps(value)}`"  # the two notations agree on these


def documented(file: str) -> dict[str, list[list[str]]]:
    """Section -> the rows of its table in the file's document."""
    parts = re.split(r"^## `\[([\w.]+)\]`.*$", (ROOT / f"docs/{file}.md").read_text(), flags=re.MULTILINE)
    tables = zip(parts[1::2], parts[2::2], strict=True)
    return {name: [r for r in rows(text.partition("\n## ")[0]) if r[0].startswith("`")] for name, text in tables}


@pytest.mark.parametrize("file", FILES)
def test_every_section_is_documented_in_order(file: str) -> None:
    assert list(documented(file)) == list(sections(file))


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in FILES for name in sections(file)])
def test_every_key_has_its_default_and_its_range(file: str, name: str) -> None:
    section, table = sections(file)[name], documented(file)[name]
    assert [row[0] for row in table] == [f"`{key}`" for key in section["properties"]]
    for key, field in section["properties"].items():
        _, may_be, unless_given, unit, meaning = table[list(section["properties"]).index(key)]
        assert may_be == (allowed(field) or may_be), key
        assert unless_given == default(key, section), key
        assert meaning, key
        assert unit or "'type': 'number'" not in str(field), key


def test_the_example_study_can_be_used() -> None:
    example = re.search(r"```toml\n(.*?)```", (ROOT / "docs/study.md").read_text(), re.DOTALL)
    assert example is not None
    assert parse_study(example[1]).study.kind == "train"


def test_the_example_site_can_be_used() -> None:
    example = re.search(r"```toml\n(.*?)```", (ROOT / "docs/site-file.md").read_text(), re.DOTALL)
    assert example is not None
    assert SiteSettings.model_validate(tomllib.loads(example[1])).site.name == "ward-a"


# ------------------------------------------------------------------ benchmarks


def test_every_benchmark_is_described_and_every_command_can_be_typed() -> None:
    text, group = (ROOT / "docs/benchmarks.md").read_text(), load("bench")
    assert isinstance(group, click.Group)
    assert {row[0].strip("`") for row in rows(text) if row[0].startswith("`")} == set(group.commands)
    for _, _, word, *rest in map(shlex.split, re.findall(r"^wardround bench .+$", text, re.MULTILINE)):
        group.commands[word].make_context(word, rest)


# ------------------------------------------------------------------ the life of a study


def test_every_command_about_a_study_is_described() -> None:
    text, group = (ROOT / "docs/life.md").read_text(), load("study")
    assert isinstance(group, click.Group)
    described = [row[0].strip("`").split()[0] for row in rows(text) if row[0].startswith("`")]
    assert described == list(group.commands)


# ------------------------------------------------------------------ every document


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)", path.read_text()):
        if "://" not in target:
            page = path.parent / target if target else path
            assert page.exists(), target
            assert not anchor or page.suffix != ".md" or anchor in anchors(page), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a link may name behind the page, as GitHub makes it of a heading."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.stem)
def test_a_decision_record_has_its_four_parts_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {int(path.stem[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == RECORD_PARTS
    assert len(text.splitlines()) <= 40


def test_decision_records_are_numbered_without_a_gap() -> None:
    assert [int(path.stem[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))
