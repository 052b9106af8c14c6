"""What an auditor types, and reads: the verdict first, at 80 columns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from audited import SITE, STUDIES, Handed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from live_federation import answer, wardround

from deploy.audit.words import ANCHORED, OPEN_END
from shared.canonical import canonical
from shared.chain import NO_ENTRY, Tip
from shared.keys import fingerprint

NOW = "2026-01-02T03:04:05Z"


def failed(*words: object, code: int = 4) -> dict[str, Any]:
    """The envelope of a command whose answer was no."""
    done = wardround(*words, "--json")
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


@pytest.fixture
def words(handed: Handed) -> list[object]:
    return ["audit", "verify", handed.ledger, "--key", handed.card]


@pytest.fixture
def heads(handed: Handed) -> list[object]:
    return [word for journal in handed.journals for word in ("--head", journal)]


def test_a_ledger_and_its_journals_are_anchored(handed: Handed, words: list[object], heads: list[object]) -> None:
    said = answer(*words, *heads)
    assert (said["verdict"], said["consistent"], said["anchored"], said["conforms"]) == (ANCHORED, True, True, True)
    assert (said["entries"], said["signed_entries"], said["anchored_entries"]) == (43, 43, 41)
    assert [anchor["study"] for anchor in said["anchors"]] == list(STUDIES)
    assert (said["unknown"], said["breaches"]["count"], said["remarks"]["count"]) == ({}, 0, 0)
    assert [(study["study"], study["updates"], study["closed"]) for study in said["studies"]] == [
        ("lungs", 2, True),
        ("chest", 2, True),
    ]
    assert said["seconds"] >= 0


def test_without_an_anchor_the_end_is_open_and_that_is_no_failure(words: list[object]) -> None:
    said = answer(*words)
    assert (said["verdict"], said["anchored"], said["anchored_entries"]) == (OPEN_END, False, 0)


def test_an_older_anchor_says_what_stands_behind_it(handed: Handed, words: list[object]) -> None:
    said = answer(*words, "--head", handed.journals[0])
    assert (said["verdict"], said["anchored_entries"]) == (OPEN_END, 20)
    assert said["behind_anchor"]["release"] == 5
    shown = " ".join(wardround(*words, "--head", handed.journals[0]).stdout.split())
    assert "the first 20 entries, by the journal of lungs behind that the site's word alone" in shown


def test_the_page_begins_with_the_verdict_and_fits(words: list[object], heads: list[object]) -> None:
    for given in ([], heads):
        shown = wardround(*words, *given).stdout.splitlines()
        assert shown[0].strip() == (ANCHORED if given else OPEN_END)
        assert max(map(len, shown)) <= 80


@pytest.mark.parametrize("form", ["hex", "pem", "roster"])
def test_the_key_may_come_in_other_forms(handed: Handed, tmp_path: Path, heads: list[object], form: str) -> None:
    raw = handed.public("identity_key")
    pem = Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw)).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "north.pem").write_bytes(pem)
    key = {"hex": raw, "pem": tmp_path / "north.pem", "roster": handed.federation / "roster.signed"}[form]
    typed = ("audit", "verify", handed.ledger, "--key", key)
    assert "--signer" in failed(*typed, code=3)["error"]["remedy"]
    assert answer(*typed, "--signer", SITE)["verdict"] == OPEN_END
    if form == "roster":
        assert answer(*typed, "--signer", SITE, *heads)["anchored"]
        return
    assert "--coordinator" in failed(*typed, "--signer", SITE, *heads, code=3)["error"]["remedy"]
    theirs = handed.public("coordinator_key")
    assert answer(*typed, "--signer", SITE, *heads, "--coordinator", theirs)["anchored"]


def test_the_fingerprint_is_the_one_that_was_compared_when_the_site_joined(handed: Handed, words: list[object]) -> None:
    theirs = answer("federation", "roster", handed.federation)["sites"][0]
    said = answer(*words)
    assert said["fingerprint"] == theirs["fingerprint"]
    shown = wardround(*words, "--head", handed.journals[0]).stdout
    assert said["coordinator_fingerprint"] == fingerprint(handed.public("coordinator_key"))
    assert all(one in shown for one in (said["fingerprint"], said["coordinator_fingerprint"]))


def test_another_key_and_another_name_do_not_fit(handed: Handed) -> None:
    roster = handed.federation / "roster.signed"
    other = ("--key", roster, "--signer", "south")
    for command in (("verify",), ("budget",), ("anchors",)):
        what = failed("audit", *command, handed.ledger, *other, code=3)["error"]["what"]
        assert what == "north-ledger.jsonl is the ledger of north; the key is of south."
    assert failed("audit", "verify", handed.ledger, "--key", handed.card, "--signer", "south")["data"] == {}


def test_a_later_head_of_another_name_breaks_the_ledger(handed: Handed, tmp_path: Path) -> None:
    tip = Tip()
    for line in handed.lines:
        _, tip = tip.follow(line.rstrip(b"\n"))
    foreign = tip.head_line(key=handed.key, signer="south", time="2026-01-02T03:04:05Z")
    said = verified(handed, tmp_path, b"".join(handed.lines) + foreign + b"\n", code=4)
    assert said["data"]["first_bad_line"] == len(handed.lines) + 1


def test_a_journal_is_verified_by_the_same_command(handed: Handed) -> None:
    said = answer("audit", "verify", handed.journals[0], "--key", handed.card, "--signer", "coordinator")
    assert (said["verdict"], said["signed_entries"], said["studies"]) == (OPEN_END, said["entries"], [])


# ------------------------------------------------------------ anchors


@pytest.mark.parametrize("form", ["typed", "typed with its holder", "list"])
def test_a_head_may_be_typed_or_listed(handed: Handed, words: list[object], tmp_path: Path, form: str) -> None:
    head = handed.anchors[-1].head
    (tmp_path / "heads.txt").write_text(f"# read out on the telephone\n\n{head}  the ethics board\n")
    given = {"typed": head, "typed with its holder": f"{head}:the ethics board", "list": tmp_path / "heads.txt"}[form]
    said = answer(*words, "--head", given)
    assert said["anchored"]
    assert said["anchors"][0]["source"] == ("somebody who was not named" if form == "typed" else "the ethics board")


def test_a_pipe_is_no_anchor(words: list[object], tmp_path: Path) -> None:
    """Reading one would wait for ever; it may lie in a folder that somebody handed over."""
    os.mkfifo(tmp_path / "journal.jsonl")
    assert failed(*words, "--head", tmp_path / "journal.jsonl", code=3)["error"]["what"].endswith("is no file.")


def test_a_head_that_is_not_in_the_ledger_is_a_failure(words: list[object]) -> None:
    said = failed(*words, "--head", f"{'5' * 64}:the ethics board")
    assert (said["data"]["verdict"], said["error"]["code"]) == (OPEN_END, "trust")
    assert "The head that the ethics board holds is not in this ledger" in said["error"]["what"]


def test_a_journal_that_nobody_signed_anchors_nothing(handed: Handed, words: list[object], tmp_path: Path) -> None:
    lines = handed.journals[0].read_bytes().splitlines(keepends=True)
    closed = next(n for n, line in enumerate(lines, 1) if b'"site_closed"' in line and b'"north"' in line)
    (tmp_path / "unsigned.jsonl").write_bytes(b"".join(lines[:closed]))
    assert (
        "behind the coordinator's last signature"
        in failed(*words, "--head", tmp_path / "unsigned.jsonl")["error"]["what"]
    )
    forged = b"".join(lines).replace(b'"site":"north"', b'"site":"south"')
    (tmp_path / "forged.jsonl").write_bytes(forged)
    assert "forged.jsonl is broken at line" in failed(*words, "--head", tmp_path / "forged.jsonl")["error"]["what"]


@pytest.mark.parametrize(("content", "code"), [(b"", 3), (b"# nothing\n", 3), (b"what is this\n", 4), (b"{}\n", 4)])
def test_a_file_that_holds_no_head_is_refused(words: list[object], tmp_path: Path, content: bytes, code: int) -> None:
    (tmp_path / "heads").write_bytes(content)
    assert failed(*words, "--head", tmp_path / "heads", code=code)["error"]["remedy"]


@pytest.mark.parametrize(("option", "value"), [("--head", "nowhere"), ("--key", "nowhere"), ("--key", "/")])
def test_what_is_not_there_is_said(words: list[object], option: str, value: str) -> None:
    assert "nowhere" in str(failed(*words, option, value, code=3)) or value == "/"


@pytest.mark.parametrize("content", [b"", b"WARDENV\n", b"WARDENV\n" + b"x" * 200, b"ff", b"\xff\x00"])
def test_what_is_no_key_is_refused(handed: Handed, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    failed("audit", "verify", handed.ledger, "--key", tmp_path / "key", "--signer", SITE)


def test_a_file_of_another_kind_is_no_key(handed: Handed) -> None:
    what = failed("audit", "verify", handed.ledger, "--key", handed.journals[0], code=3)["error"]["what"]
    assert what == f"{handed.journals[0]} is a ledger or journal; a key card is wanted."


def test_anchors_names_what_to_ask_of_whom(handed: Handed) -> None:
    asked = answer("audit", "anchors", handed.ledger)["ask"]
    assert [question["whom"] for question in asked[:2]] == [SITE, "whoever keeps the signed agreement"]
    assert [question["head"] for question in asked[2:]] == [anchor.head for anchor in handed.anchors]
    shown = wardround("audit", "anchors", handed.ledger).stdout
    assert "it should hold the head of entry 20" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_open_study_has_no_anchor_yet(handed: Handed, tmp_path: Path) -> None:
    (tmp_path / "part.jsonl").write_bytes(b"".join(handed.lines[:10]))
    asked = answer("audit", "anchors", tmp_path / "part.jsonl")["ask"]
    assert (asked[-1]["whom"], asked[-1]["head"]) == ("nobody yet", None)


# ------------------------------------------------------------ ledgers that are odd


def grown(handed: Handed, *entries: tuple[str, dict[str, Any]], **fields: Any) -> bytes:
    """The ledger with entries behind its end, further fields in them, and a head."""
    tip = Tip(len(handed.lines), handed.examined(handed.lines).head)
    lines = handed.lines
    for kind, said in entries:
        line = canonical(json.loads(tip.next_line(kind, said, time=NOW)) | fields)
        _, tip = tip.follow(line)
        lines.append(line + b"\n")
    return b"".join([*lines, tip.head_line(key=handed.key, signer=SITE, time=NOW) + b"\n"])


def verified(handed: Handed, tmp_path: Path, content: bytes, *words: object, code: int = 0) -> dict[str, Any]:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    done = wardround("audit", "verify", path, "--key", handed.card, *words, "--json")
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


def test_lines_behind_the_anchor_are_the_sites_word_alone(handed: Handed, tmp_path: Path, heads: list[object]) -> None:
    content = grown(handed, ("worker_restarted", {"during": "idle"}))
    said = verified(handed, tmp_path, content, *heads)["data"]
    assert (said["verdict"], said["behind_anchor"], said["anchored_entries"]) == (
        OPEN_END,
        {"worker_restarted": 1},
        41,
    )


def test_unknown_types_and_fields_survive_and_are_reported(handed: Handed, tmp_path: Path) -> None:
    content = grown(handed, ("from_the_future", {"a": 1}), ("cut", {"bytes": 3, "why": "x"}), colour="green")
    said = verified(handed, tmp_path, content)["data"]
    assert said["unknown"] == {
        "type from_the_future": 1,
        "colour in from_the_future": 1,
        "colour in cut": 1,
        "data.why in cut": 1,
    }
    assert said["consistent"]
    assert "3 bytes of it were lost" in said["remarks"]["first"][0]["what"]


def test_what_a_ledger_says_cannot_drive_the_terminal(handed: Handed, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(grown(handed, ("release_refused", {"study": "a", "rule": "\x1b[2Jgone"})))
    shown = wardround("audit", "verify", tmp_path / "ledger.jsonl", "--key", handed.card).stdout
    assert "To be asked about" in shown
    assert "\x1b[2J" not in shown


def test_a_torn_last_line_is_broken_and_says_so(handed: Handed, tmp_path: Path) -> None:
    said = verified(handed, tmp_path, handed.ledger.read_bytes()[:-9], code=4)
    assert said["data"]["verdict"] == "broken at line 43: the entry has no end, or is too long"
    assert not said["data"]["anchored"]


def test_another_format_asks_for_the_version_that_wrote_it(handed: Handed, tmp_path: Path) -> None:
    content = handed.ledger.read_bytes() + canonical({**json.loads(handed.lines[-1]), "v": 2}) + b"\n"
    said = verified(handed, tmp_path, content, code=4)
    assert (said["error"]["code"], said["data"]["first_bad_line"]) == ("protocol", 44)
    assert "format 2; this software reads format 1" in said["data"]["verdict"]
    assert "version of Wardround that wrote" in said["error"]["remedy"]


@pytest.mark.parametrize(("lines", "verdict"), [(0, "broken at line 1: there is no entry"), (2, "unsigned: no head")])
def test_what_nobody_signed_is_not_consistent(handed: Handed, tmp_path: Path, lines: int, verdict: str) -> None:
    said = verified(handed, tmp_path, b"".join(handed.lines[:lines]), code=4)
    assert said["data"]["verdict"].startswith(verdict)
    assert not said["data"]["consistent"]
    assert "anybody could have written it" in said["error"]["what"]
    assert said["data"]["head"] != NO_ENTRY or lines == 0


def test_a_breach_is_told_apart_from_a_broken_chain(handed: Handed, tmp_path: Path) -> None:
    def change(entry: dict[str, Any]) -> dict[str, Any]:
        if entry["type"] != "release" or entry["data"]["kind"] != "ready":
            return entry
        return {**entry, "data": entry["data"] | {"contract": "f" * 64}}

    said = verified(handed, tmp_path, b"".join(handed.written_anew(change)), code=4)
    assert said["data"]["verdict"] == f"{OPEN_END}; 6 entries break what was agreed"
    assert (said["data"]["consistent"], said["data"]["conforms"]) == (True, False)
    assert said["error"]["what"].startswith("Entry 7 breaks what was agreed: the release names a contract that no")


# ------------------------------------------------------------ what it costs


def test_memory_does_not_grow_with_the_ledger(handed: Handed) -> None:
    """What is kept after many entries is what was kept after few: counts, and the first notes of a kind."""
    few = handed.examined(handed.lines, [])
    tip, lines = Tip(), []
    for number in range(3000):
        line = tip.next_line(f"type_{number}", {f"field_{number}": 1}, time=NOW)
        _, tip = tip.follow(line)
        lines.append(line + b"\n")
    many = handed.examined(lines, [])
    assert few.types.total() == 43
    assert (many.types.total(), many.unknown.total()) == (3000, 3000)
    assert max(len(many.types), len(many.unknown), len(many.remarks.kept)) <= 101


def test_it_loads_neither_torch_nor_flower() -> None:
    code = "import deploy.audit.command, sys; print({'torch', 'flwr', 'monai', 'pydicom'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
