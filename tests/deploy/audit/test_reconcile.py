"""The ledgers of a real federation agree with its journal, and whatever either side changes afterwards is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audited import KEPT, SITE, STUDIES, Handed
from live_federation import answer, wardround

from client.evidence import export_ledger
from server.federation import load_federation
from shared.canonical import digest
from shared.chain import HEAD, Tip
from shared.identity import COORDINATOR

WHEN = "2026-01-02T03:04:05Z"
Change = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def south(handed: Handed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_ledger(handed.site.with_name("south"), tmp_path_factory.mktemp("south")).files[0]


def anew(source: Path, into: Path, change: Change, *, key: Any, signer: str) -> Path:
    """A chain with entries changed, or taken out, and signed again with the right key."""
    tip, lines = Tip(), []
    for old in map(json.loads, source.read_bytes().splitlines()):
        entry = change(old)
        if entry is None:
            continue
        if entry["type"] == HEAD:
            line = tip.head_line(key=key, signer=signer, time=entry["time"])
        else:
            line = tip.next_line(entry["type"], entry["data"], time=entry["time"])
        lines.append(line + b"\n")
        _, tip = tip.follow(line)
    into.write_bytes(b"".join(lines))
    return into


def reconciled(handed: Handed, journal: Path, *ledgers: Path, code: int = 0) -> dict[str, Any]:
    words = ("audit", "reconcile", journal, *ledgers, "--key", handed.federation / "roster.signed", "--json")
    done = wardround(*words)
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("number", [0, 1])
def test_both_sides_of_each_study_agree(handed: Handed, south: Path, number: int) -> None:
    said = reconciled(handed, handed.journals[number], handed.ledger, south)["data"]
    assert (said["verdict"], said["agrees"], said["missing_ledgers"]) == ("the books agree", True, [])
    assert said["rounds"] == [{"round": n, "counted": 2, "confirmed": 2} for n in (1, 2)]
    assert (said["discrepancies"], said["open_points"]) == ([], [])
    for site in said["sites"]:
        assert (site["updates"], site["counted"]) == (2, 2)
        assert site["received"] < site["bytes"] < site["received"] + 2 * 8192
    assert said["final_model_recomputed"] is None


def test_a_ledger_that_is_missing_is_said(handed: Handed) -> None:
    said = reconciled(handed, handed.journals[0], handed.ledger)["data"]
    assert (said["verdict"], said["missing_ledgers"]) == ("the books agree, as far as ledgers are there", ["south"])
    assert said["rounds"][0] == {"round": 1, "counted": 2, "confirmed": 1}


def test_key_cards_do_as_well_as_the_roster_and_the_page_fits(handed: Handed, south: Path) -> None:
    card = south.with_name("south-key-card.json")
    words = ("audit", "reconcile", handed.journals[0], handed.ledger, south, "--key", handed.card, "--key", card)
    assert answer(*words)["agrees"]
    shown = wardround(*words).stdout.splitlines()
    assert shown[0].strip() == "the books agree"
    assert max(map(len, shown)) <= 80


# ------------------------------------------------------------ a site's ledger that was changed


def only(kind: str, **data: Any) -> Change:
    """Another value in the entries of a kind."""
    return lambda entry: entry | {"data": entry["data"] | data} if entry["type"] == kind else entry


def update_of(number: int, **data: Any) -> Change:
    """Another value in the release of a round's update in the first study."""

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        said = entry["data"]
        here = entry["type"] == "release" and (said["study"], said["round"]) == (STUDIES[0], number)
        return entry | {"data": said | data} if here and said["update_digest"] else entry

    return change


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        (update_of(2, update_digest="9" * 64), "unknown_update", 2),
        (update_of(2, update_digest="9" * 64), "never_left", 2),
        (update_of(1, update_digest=None), "never_left", 1),
        (update_of(1, bytes=10), "bytes", 1),
        (update_of(1, bytes=10**6), "bytes", 1),
        (only("receipt", outcome="late"), "receipt", 1),
        (only("model_received", model_digest="9" * 64), "model", 1),
        (only("heads", root="9" * 64), "root", 1),
        (only("contract", contract="9" * 64), "head", 1),
    ],
)
def test_what_a_site_changes_afterwards_is_named(
    handed: Handed, tmp_path: Path, change: Change, code: str, where: int
) -> None:
    forged = anew(handed.ledger, tmp_path / "north.jsonl", change, key=handed.key, signer=SITE)
    said = reconciled(handed, handed.journals[0], forged, code=4)
    found = [(one["site"], one["round"], one["code"]) for one in said["data"]["discrepancies"]]
    assert (SITE, where, code) in found
    assert all(one["means"] for one in said["data"]["discrepancies"])
    assert said["error"]["what"].startswith("north")


def test_a_rolled_back_ledger_has_not_the_heads_that_the_journal_holds(handed: Handed, tmp_path: Path) -> None:
    n = iter(range(1, 1000))
    forged = anew(
        handed.ledger, tmp_path / "north.jsonl", lambda e: e if next(n) <= 10 else None, key=handed.key, signer=SITE
    )
    said = reconciled(handed, handed.journals[0], forged, code=4)["data"]
    assert {one["code"] for one in said["discrepancies"]} >= {"head", "never_left"}


def shortened(handed: Handed, into: Path, *, declared: bool) -> Path:
    """The ledger without its end, as after a restore; what is lost is declared, or not."""
    lines, tip = handed.lines[:9], Tip()
    for line in lines:
        _, tip = tip.follow(line.rstrip(b"\n"))
    last = json.loads(handed.lines[-1])["n"], digest(handed.lines[-1].rstrip(b"\n"))
    said = {"since": 9, "entry": last[0], "hash": last[1], "by": "ada", "why": "restored"}
    kind, data = ("tail_lost", said) if declared else ("message_discarded", {"code": "trust"})
    lines.append(tip.next_line(kind, data, time=WHEN) + b"\n")
    _, tip = tip.follow(lines[-1].rstrip(b"\n"))
    lines.append(tip.head_line(key=handed.key, signer=SITE, time=WHEN) + b"\n")
    into.write_bytes(b"".join(lines))
    return into


def declared_in(handed: Handed, into: Path, **changes: Any) -> Path:
    """The journal, with what the site declared."""
    loss = {"since": 9, "entry": len(handed.lines), "hash": digest(handed.lines[-1].rstrip(b"\n")), "declared": WHEN}
    said = {"site": SITE, "lost": loss | changes, "held": None}
    key = load_federation(handed.federation).coordinator_key

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "type": "tail_lost", "data": said} if entry["type"] == "epoch_claimed" else entry

    return anew(handed.journals[0], into, change, key=key, signer=COORDINATOR)


def test_a_tail_that_was_lost_and_declared_is_named_and_what_stood_there_is_open(
    handed: Handed, tmp_path: Path
) -> None:
    ledger, journal = shortened(handed, tmp_path / "n.jsonl", declared=True), declared_in(handed, tmp_path / "j.jsonl")
    said = reconciled(handed, journal, ledger)["data"]
    assert said["verdict"] == f"the books agree, but for what is lost of the ledger of {SITE}"
    assert {one["code"] for one in said["open_points"]} == {"head_lost", "release_lost"}
    assert said["lost"][SITE][0]["entry"] == len(handed.lines)
    shown = wardround("audit", "reconcile", journal, ledger, "--key", handed.federation / "roster.signed").stdout
    assert f"entries was lost and declared on {WHEN[:10]}" in " ".join(shown.split())


def test_a_tail_that_is_gone_without_a_word_is_a_discrepancy(handed: Handed, tmp_path: Path) -> None:
    ledger = shortened(handed, tmp_path / "north.jsonl", declared=False)
    said = reconciled(handed, handed.journals[0], ledger, code=4)["data"]
    assert {one["code"] for one in said["discrepancies"]} >= {"head", "never_left"}


def test_a_declaration_that_one_of_the_books_conceals_is_named(handed: Handed, tmp_path: Path) -> None:
    said = reconciled(handed, declared_in(handed, tmp_path / "journal.jsonl"), handed.ledger, code=4)["data"]
    assert [(one["site"], one["code"]) for one in said["discrepancies"]] == [(SITE, "loss")]
    lost = {"west": [{"since": 1, "entry": 2, "hash": "9" * 64, "declared": WHEN}]}
    told = anew(handed.ledger, tmp_path / "north.jsonl", only("heads", lost=lost), key=handed.key, signer=SITE)
    found = reconciled(handed, handed.journals[0], told, code=4)["data"]["discrepancies"]
    assert any(one["code"] == "loss" and "west" in one["what"] for one in found)


def test_verifying_a_ledger_always_names_the_tail_that_it_declares_lost(handed: Handed, tmp_path: Path) -> None:
    ledger = shortened(handed, tmp_path / "north.jsonl", declared=True)
    said = answer("audit", "verify", ledger, "--key", handed.card)
    assert said["verdict"].endswith(
        f"a tail of at most {len(handed.lines) - 9:,} entries was lost and declared on {WHEN[:10]}"
    )
    assert said["lost"][0]["by"] == "ada"
    done = wardround("audit", "verify", ledger, "--key", handed.card, "--head", handed.journals[1])
    assert done.exit_code == 4  # a head that others hold is gone, whoever declared it
    assert "ada has declared lost" in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("carried", "code"), [(0.5, None), (1.0, None), (30.0, "traffic"), (0.0, None)], ids=["half", "all", "more", "none"]
)
def test_bytes_over_the_line_that_no_release_explains_are_named(
    handed: Handed, tmp_path: Path, carried: float, code: str | None
) -> None:
    """The line of these sites counts nothing, so the test writes what one would have counted."""
    released = sum(
        entry["data"]["bytes"]
        for entry in map(json.loads, handed.lines)
        if entry["type"] == "release" and entry["data"]["study"] == STUDIES[0]
    )
    counted = {"study": STUDIES[0], "since": 0, "bytes": int(carried * released)}

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        mine = entry["type"] == "study_closed"
        return {**entry, "type": "traffic", "data": counted} if mine and entry["data"]["study"] == STUDIES[0] else entry

    ledger = anew(handed.ledger, tmp_path / "north.jsonl", change, key=handed.key, signer=SITE)
    said = reconciled(handed, handed.journals[0], ledger, code=4)["data"]  # its heads are others now
    assert ({one["code"] for one in said["discrepancies"]} - {"head"}) == ({code} if code else set())


# ------------------------------------------------------------ a journal that was changed


def drop(kind: str, number: int) -> Change:
    def change(entry: dict[str, Any]) -> dict[str, Any] | None:
        said = entry["data"]
        mine = entry["type"] == kind and said.get("round") == number and said.get("site") == SITE
        return None if mine else entry

    return change


def without(number: int) -> Change:
    """A round that the site is said to have missed, though it counted."""

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        said = entry["data"]
        if entry["type"] != "round_committed" or said["round"] != number:
            return entry
        return entry | {"data": said | {"counted": ["south"]}}

    return change


@pytest.mark.parametrize(
    ("change", "site", "code"),
    [
        (drop("update_spooled", 1), SITE, "unknown_update"),
        (drop("update_admitted", 1), SITE, "not_admitted"),
        (without(1), SITE, "receipt"),
        (only("heads_noted", heads={}), None, "root"),
        (only("update_spooled", update_bytes=10), SITE, "bytes"),
    ],
)
def test_what_the_coordinator_changes_afterwards_is_named(
    handed: Handed, tmp_path: Path, change: Change, site: str | None, code: str
) -> None:
    key = load_federation(handed.federation).coordinator_key
    forged = anew(handed.journals[0], tmp_path / "journal.jsonl", change, key=key, signer=COORDINATOR)
    said = reconciled(handed, forged, handed.ledger, code=4)["data"]
    assert (site, code) in [(one["site"], one["code"]) for one in said["discrepancies"]]


def test_an_update_that_left_on_a_line_that_broke_is_an_open_point(handed: Handed, tmp_path: Path) -> None:
    """The journal's own word explains it: no discrepancy, and not hidden."""

    def broke(entry: dict[str, Any]) -> dict[str, Any] | None:
        said = entry["data"]
        if said.get("site") == SITE and said.get("round") == 2 and entry["type"].startswith("update_"):
            return None
        if entry["type"] == "round_committed" and said["round"] == 2:
            return entry | {"data": said | {"counted": ["south"], "absent": {SITE: "line_lost"}}}
        return entry

    def late(entry: dict[str, Any]) -> dict[str, Any]:
        said = entry["data"]
        mine = entry["type"] == "receipt" and said["round"] == 2
        return entry | {"data": said | {"outcome": "late"}} if mine else entry

    key = load_federation(handed.federation).coordinator_key
    journal = anew(handed.journals[0], tmp_path / "journal.jsonl", broke, key=key, signer=COORDINATOR)
    ledger = anew(handed.ledger, tmp_path / "north.jsonl", late, key=handed.key, signer=SITE)
    said = reconciled(handed, journal, ledger, code=4)["data"]  # its heads are others now
    assert [(one["round"], one["code"]) for one in said["open_points"]] == [(2, "not_received")]
    assert {one["code"] for one in said["discrepancies"]} == {"head"}


def test_whom_a_round_asked_is_said_where_it_was_not_everybody(handed: Handed, tmp_path: Path) -> None:
    def drawn(entry: dict[str, Any]) -> dict[str, Any]:
        second = entry["type"] == "round_opened" and entry["data"]["round"] == 2
        return entry | {"data": entry["data"] | {"cohort": ["south"]}} if second else entry

    key = load_federation(handed.federation).coordinator_key
    journal = anew(handed.journals[0], tmp_path / "journal.jsonl", drawn, key=key, signer=COORDINATOR)
    assert reconciled(handed, journal, handed.ledger)["data"]["drawn"] == {"2": ["south"]}
    shown = wardround("audit", "reconcile", journal, handed.ledger, "--key", handed.federation / "roster.signed").stdout
    assert "round 2 asked south alone" in shown


# ------------------------------------------------------------ an end that nobody signed


def goes_on(source: Path, into: Path, *entries: tuple[str, dict[str, Any]]) -> Path:
    """A chain with entries behind it that anybody can write, who has the file."""
    lines, tip = source.read_bytes().splitlines(keepends=True), Tip()
    for line in lines:
        _, tip = tip.follow(line.rstrip(b"\n"))
    for kind, data in entries:
        lines.append(tip.next_line(kind, data, time=WHEN) + b"\n")
        _, tip = tip.follow(lines[-1].rstrip(b"\n"))
    into.write_bytes(b"".join(lines))
    return into


def test_entries_that_nobody_signed_are_said(handed: Handed, tmp_path: Path) -> None:
    more = ("site_lost", {"site": "south", "round": 3, "cause": "line_lost"})
    for journal, ledger, site in (
        (goes_on(handed.journals[0], tmp_path / "journal.jsonl", more), handed.ledger, None),
        (handed.journals[0], goes_on(handed.ledger, tmp_path / "n.jsonl", ("software", {"version": "1"})), SITE),
    ):
        said = reconciled(handed, journal, ledger)["data"]
        assert said["verdict"] == "the books agree, and not all of them is signed"
        assert [(one["site"], one["code"]) for one in said["open_points"]] == [(site, "unsigned")]


def test_a_final_model_that_nobody_signed_is_none(handed: Handed, tmp_path: Path) -> None:
    lines = (handed.federation / "studies" / KEPT / "journal.jsonl").read_bytes().splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if b'"type":"study_finished"' in line)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[: end + 1]))
    study = handed.federation / "studies" / KEPT
    words = (tmp_path / "journal.jsonl", handed.ledger, "--key", handed.federation / "roster.signed", "--study", study)
    said = json.loads(wardround("audit", "reconcile", *words, "--json").stdout)["data"]
    assert [one["bit_identical"] for one in said["models"]] == [True, True]
    assert said["final_model_recomputed"] is None


# ------------------------------------------------------------ files that cannot be used


def test_a_broken_file_is_named_with_its_line(handed: Handed, tmp_path: Path) -> None:
    lines = handed.journals[0].read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:3] + lines[4:]))
    said = reconciled(handed, tmp_path / "journal.jsonl", handed.ledger, code=4)
    assert "journal.jsonl is broken at line 4" in said["error"]["what"]


def test_an_entry_that_is_not_in_its_form_is_named(handed: Handed, tmp_path: Path) -> None:
    forged = anew(handed.ledger, tmp_path / "north.jsonl", only("receipt", round={"a": 1}), key=handed.key, signer=SITE)
    said = reconciled(handed, handed.journals[0], forged, code=4)
    assert "is not in its form" in said["error"]["what"]


def test_a_ledger_whose_key_nobody_named_is_refused(handed: Handed) -> None:
    words = ("audit", "reconcile", handed.journals[0], handed.ledger)
    theirs = handed.public("coordinator_key")
    assert wardround(*words, "--key", "nowhere").exit_code == 3
    assert wardround(*words, "--key", handed.public("identity_key")).exit_code == 3  # who is the coordinator?
    assert wardround(*words, "--key", theirs, "--coordinator", theirs).exit_code == 4  # not who signed the ledger
