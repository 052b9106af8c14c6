"""What the documents say of a ledger is what both verifiers do."""

import io
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from deploy.audit.anchors import Anchor
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import read_signer
from deploy.audit.vocabulary import KNOWN
from deploy.audit.words import ANCHORED, verdict
from shared.heads import Head, root_over
from shared.image_list import manifest_of, read_list, study_key
from shared.keys import read_identity_hex
from shared.receipt import Receipt, read_receipt

ROOT = Path(__file__).parents[3]
FORMAT = (ROOT / "docs" / "ledger-format.md").read_text()
BLOCKS = re.findall(r"```\n(.*?)```", FORMAT, re.DOTALL)
LIST, LIST_HASHES, LEAVES, ROOT_OF_TWO, ROOT_OF_ONE, RECEIPT, KEY, LINES, HASHES = BLOCKS
CHANGES = re.findall(r"^\| `(.+?)` becomes `(.+?)` \| (.+?) \|$", FORMAT, re.MULTILINE)
HEAD = HASHES.split()[-1]


def both(independent: ModuleType, text: str) -> tuple[str, str]:
    lines = text.encode().splitlines(keepends=True)
    found: Findings = examine(lines, read_signer(KEY.strip(), "north"), [Anchor(HEAD, "the document")])
    return verdict(found), independent.verdict(io.BytesIO(text.encode()), KEY.strip(), "north", {HEAD: None})


def test_the_vector_is_consistent_and_anchored(independent: ModuleType) -> None:
    ours, theirs = both(independent, LINES)
    assert theirs == ANCHORED
    assert ours == f"{ANCHORED}; 1 entry breaks what was agreed"  # its release is shorter than a site's


@pytest.mark.parametrize(("old", "new", "said"), CHANGES)
def test_a_changed_vector_is_judged_as_the_document_says(
    independent: ModuleType, old: str, new: str, said: str
) -> None:
    assert old in LINES
    assert all(one.startswith(said) for one in both(independent, LINES.replace(old, new)))


def test_the_heads_have_the_roots_that_the_document_says() -> None:
    heads = {said["site"]: Head(n=said["n"], hash=said["hash"]) for said in map(json.loads, LEAVES.splitlines())}
    assert root_over(heads) == ROOT_OF_TWO.strip()
    assert root_over({"north": heads["north"]}) == ROOT_OF_ONE.strip()
    assert heads["north"] == Head(n=3, hash=HEAD)


def test_the_receipt_holds_by_the_documented_key_and_names_the_documented_head() -> None:
    receipt = read_receipt(RECEIPT.encode())
    assert receipt.holds(read_identity_hex(KEY.strip()))
    assert (receipt.head, receipt.root) == (Head(n=3, hash=HEAD), ROOT_OF_TWO.strip())
    table = re.findall(r"^\| `(.+)` \| .+ \|$", FORMAT.partition("## A receipt")[2], re.MULTILINE)
    assert {*re.findall(r"\w+", " ".join(table[:7])), "signature"} == {*Receipt.model_fields}


def test_the_list_has_the_hash_that_the_document_says() -> None:
    key = study_key(bytes([7]) * 32, "a" * 64)
    assert [key.hex(), manifest_of(key, LIST.encode())] == LIST_HASHES.split()
    (image,) = read_list(LIST)
    assert (image.split, image.labels) == ("train", (1,))


def test_there_are_changes_of_each_kind() -> None:
    assert len(CHANGES) == 8


def test_the_entries_of_a_site_are_those_that_are_known() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.+?`) \| .+ \|$", FORMAT, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}
    assert {name: documented.get(name) for name in KNOWN} == KNOWN


def test_every_verdict_is_explained() -> None:
    text = (ROOT / "docs" / "auditor.md").read_text()
    rows = re.findall(r"^\| (.+?) \| .+ \| [04].* \|$", text, re.MULTILINE)
    assert rows == [
        ANCHORED,
        "consistent, end not anchored",
        "...; N entries break what was agreed",
        "unsigned",
        "broken at line N",
    ]
