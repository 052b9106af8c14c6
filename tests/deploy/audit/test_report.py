"""The page that an auditor signs: what it claims, what it shows, and that nobody changed it since."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from audited import Handed
from browser import Reader, shown
from PIL import Image
from reported import MADE, dossier_of, goes_on, said, standing

from deploy.audit.report.claims import claims
from deploy.audit.report.dossier import Dossier
from deploy.audit.report.law import MAPPINGS
from deploy.audit.report.page import render
from deploy.audit.report.sections import SECTIONS, sections
from shared.keys import identity_hex, make_identity_key, save_key
from shared.privacy import Mechanism, epsilon_of

HOSTILE = "<script>alert('1')</script> \"&\" <img src=x onerror=alert(1)>"


def page_of(dossier: Dossier) -> Reader:
    return Reader(render(dossier, signed_by="auditor", fingerprint="0000"))


def test_a_whole_ledger_is_proven_as_far_as_others_hold_it(handed: Handed) -> None:
    dossier = dossier_of(handed, handed.lines)
    assert standing(dossier, "none changed since, and in order") == ["proven"]
    assert standing(dossier, "changed, cut or put in later") == ["proven"]
    assert standing(dossier, "written down") == ["declared"]
    assert standing(dossier, "ran the software") == ["open"]
    assert standing(dossier, "compare both fingerprints") == ["open"]  # a site can bring a coordinator of its own
    text = page_of(dossier).text
    assert "Consistent and anchored Nothing was changed, cut or put in" in " ".join(text.split())
    for line in map(json.loads, handed.lines):
        if line["type"] == "release":
            assert line["data"]["body_digest"] in text
            assert f"{line['data']['bytes']:,}" in text
    assert handed.signer.fingerprint in text


def test_without_an_anchor_the_end_is_the_sites_word(handed: Handed) -> None:
    dossier = dossier_of(handed, handed.lines, anchored=False)
    assert standing(dossier, "could have been cut or written anew") == ["declared"]
    assert "No head of another party was given" in page_of(dossier).text


def test_what_does_not_hold_comes_first(handed: Handed) -> None:
    broken = dossier_of(handed, handed.lines[:4] + handed.lines[5:])
    assert claims(broken)[0].standing == "broken"
    assert standing(broken, "broken at line 5") == ["broken"]
    anew = handed.written_anew(lambda entry: entry | {"time": MADE})
    assert "broken" in standing(dossier_of(handed, anew), "is not in this ledger")
    breach = goes_on(handed, ("release", {"study": "lungs"}))
    text = page_of(dossier_of(handed, breach)).text
    assert "1 entry breaks what had been agreed before." in text
    assert "lacks a field" in text


@pytest.mark.parametrize("lines", [[], [b"no ledger\n"]])
def test_what_is_no_ledger_gives_a_page_that_says_so(handed: Handed, lines: list[bytes]) -> None:
    assert "broken at line 1" in page_of(dossier_of(handed, lines)).text


def test_what_an_entry_says_is_text(handed: Handed) -> None:
    page = page_of(dossier_of(handed, goes_on(handed, ("approval", {"study": "lungs", "by": HOSTILE, "x": [HOSTILE]}))))
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_people_and_privacy_have_their_sections(handed: Handed) -> None:
    spent = {
        **{"study": "hearts", "study_digest": "a" * 64, "round": 1, "clip_norm": 1.0, "delta": 1e-6},
        **{"noise_multiplier": 1.1, "sampling_rate": 0.1, "images_per_patient": 2, "steps": 20},
    }
    lines = goes_on(handed, ("privacy_spent", spent), ("budget_reconciled", {"by": "Jo Doe", "why": "a backup"}))
    dossier = dossier_of(handed, lines)
    by_id = {section.id: section for section in sections(dossier)}
    ((study, epsilon, own, charged, _, without),) = by_id["privacy"].rows
    assert (study, own, charged, without) == ("hearts", "", "1", "0")
    run = Mechanism.model_validate({name: spent[name] for name in Mechanism.model_fields})
    assert float(epsilon) == pytest.approx(epsilon_of((run,), delta=1e-6), rel=0.01)
    assert any("by Jo Doe" in row[-1] for row in by_id["human"].rows)
    assert standing(dossier, f"at most epsilon {epsilon}") == ["declared"]
    assert standing(dossier, "behind a charge that pays for it") == [
        "declared"
    ]  # who holds the key writes charges, too


def test_what_the_policy_agreed_to_is_nobody_s_act(handed: Handed) -> None:
    agreed = {
        "study": "hearts",
        "study_digest": "a" * 64,
        "contract": "c" * 64,
        "approved_by": "person",
        "person": "Jo Doe",
    }
    by_id = {section.id: section for section in sections(dossier_of(handed, goes_on(handed, ("contract", agreed))))}
    assert by_id["human"].rows == []  # a person's act is the approval, which has an entry of its own
    assert [row[3] for row in by_id["contracts"].rows] == ["policy.studies = any"] * 2 + ["Jo Doe"]


def test_what_a_person_did_and_what_was_refused_stand_once_and_in_words(handed: Handed) -> None:
    decided = {"study": "hearts", "verdict": "approved", "person": "Jo Doe", "reason": ""}
    no = {"study": "hearts", "round": 0, "stage": "open", "kind": "refused", "refusal": "awaits_approval", "bytes": 9}
    told = no | {"body_digest": "a" * 64, "update_digest": None, "contract": None, "tells": []}
    dossier = dossier_of(handed, goes_on(handed, ("approval", decided), ("release", told)))
    by_id = {section.id: section for section in sections(dossier)}
    assert [row[4] for row in by_id["human"].rows] == ["person Jo Doe, verdict approved"]
    assert not any("Jo Doe" in row[-1] for row in by_id["other"].rows)
    assert by_id["refusals"].rows[-1][-1] == "answered at open: awaits approval"
    assert by_id["releases"].rows[-1][4] == "refused awaits approval"


def test_answers_that_left_again_and_again_are_among_the_releases(handed: Handed) -> None:
    where = {"study": "hearts", "round": 0, "stage": "open", "refusal": "awaits_approval"}
    announced, left = ("release_again", where | {"most": 9}), ("release_repeated", where | {"count": 7, "bytes": 2800})
    dossier = dossier_of(handed, goes_on(handed, announced, left))
    by_id = {section.id: section for section in sections(dossier)}
    assert by_id["releases"].rows[-1][3:6] == ("0", "7 times awaits approval", "2,800")
    assert by_id["refusals"].rows[-1][2::3] == ("release again", "at most 9 more answers that say: awaits approval")
    assert standing(dossier, "The ledger names 17 releases") == ["proven"]


def test_a_crafted_name_neither_turns_the_page_around_nor_fills_it(handed: Handed) -> None:
    odd = "\u202egnuod oJ\x1b[2J" + "x" * 100_000
    entries = (
        ("approval", {"study": odd, "by": odd}),
        ("contract", {"study": odd, "contract": "c" * 64, "person": odd}),
    )
    text = render(dossier_of(handed, goes_on(handed, *entries)), signed_by="auditor", fingerprint="0000")
    assert not {"\u202e", "\x1b"} & {*text}
    assert len(text) < 60_000


def test_every_section_that_is_pointed_at_is_there(handed: Handed) -> None:
    dossier = dossier_of(handed, handed.lines)
    known = {section.id for section in sections(dossier)}
    assert len(known) == len(SECTIONS)
    assert {id_ for mapping in MAPPINGS for id_ in mapping.sections} <= known
    assert {claim.section for claim in claims(dossier)} <= {*known, ""}
    assert {value[1:] for name, value in page_of(dossier).attributes if name == "href"} <= known


def test_the_page_loads_nothing(handed: Handed) -> None:
    page = page_of(dossier_of(handed, handed.lines))
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not {"src", "srcset", "data", "action", "style"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import", page.text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_it_is_signed_and_any_change_is_noticed(handed: Handed, chromium: str, tmp_path: Path) -> None:
    key = make_identity_key()
    save_key(tmp_path / "auditor.pem", key)
    page = tmp_path / "page.html"
    heads = [word for journal in handed.journals for word in ("--head", journal)]
    code, answer = said(handed.ledger, "--key", handed.card, *heads, "--sign", tmp_path / "auditor.pem", "--to", page)
    assert (code, answer["data"]["signed_by"]) == (0, "auditor")
    check = ("--verify", page, "--key", identity_hex(key.public_key()), "--signer", "auditor")
    assert said(*check)[0] == 0
    picture = tmp_path / "page.png"
    done = shown(chromium, page, tmp_path, f"--screenshot={picture}")
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 20)) > 50
    assert "CONSOLE" not in done.stderr
    other = ("--verify", page, "--key", handed.public("identity_key"), "--signer", "auditor")
    assert said(*other)[0] == 4
    page.write_bytes(page.read_bytes().replace(b"Proven", b"PROVEN"))
    code, answer = said(*check)
    assert (code, answer["error"]["what"]) == (4, "page.html is not the page that auditor signed.")


def test_the_sites_own_key_signs_in_its_name(handed: Handed, tmp_path: Path) -> None:
    words = (handed.ledger, "--key", handed.card, "--sign", handed.site / "keys" / "identity.pem")
    code, answer = said(*words, "--to", tmp_path / "page.html")
    assert (code, answer["data"]["signed_by"]) == (0, "north")
    assert said("--verify", tmp_path / "page.html", "--key", handed.card)[0] == 0


def test_nobody_is_asked_to_trust_an_unsigned_page(handed: Handed, tmp_path: Path) -> None:
    code, answer = said(handed.ledger, "--key", handed.card, "--to", tmp_path / "page.html")
    assert (code, answer["error"]["remedy"]) == (3, "Name a private Ed25519 key with --sign.")
    over = (handed.ledger, "--key", handed.card, "--sign", handed.site / "keys" / "identity.pem", "--to", handed.ledger)
    assert said(*over)[0] == 3


def test_a_key_made_as_the_guide_says_signs_and_verifies(handed: Handed, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "auditor.md").read_text(encoding="utf-8")
    lines = [line for line in guide.splitlines() if line.startswith("openssl ")]
    assert len(lines) == 2
    for line in lines:
        subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    page, key = tmp_path / "page.html", tmp_path / "auditor.pem"
    assert said(handed.ledger, "--key", handed.card, "--sign", key, "--to", page)[0] == 0
    assert said("--verify", page, "--key", tmp_path / "auditor.pub", "--signer", "auditor")[0] == 0
