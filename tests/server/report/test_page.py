"""The page: whole, escaped, loading nothing, and shown by a real browser."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from browser import Reader, shown
from PIL import Image

from server.claim import AdmissionReason
from server.records import UpdateRefused
from server.report import write_report
from server.report.words import coarse, duration, share, size
from server.study_folder import StudyState

HOSTILE = "<script>alert('1')</script> \"&\" <img src=x onerror=alert(1)>"


def read(ward: Any) -> Reader:
    return Reader(write_report(ward.folder).read_text(encoding="utf-8"))


def troubled(wards: Any) -> Any:
    """A study with every kind of seat, a refusal, and an end before its time."""
    ward = wards.new(sites=("north", "south", "west", "never")).begin(opened=("north", "south", "west"))
    ward.say(ward.opening(1, asked=("north", "south", "west"))).say(ward.ready(1, "north"), ward.ready(1, "south"))
    ward.say(UpdateRefused(round=1, site="south", reasons=(AdmissionReason.NORM,), detail="9 against 3"))
    ward.commit(1, "north", refused={"south": "norm"}, absent={"west": "line_lost"})
    return ward.end(StudyState.FAILED, reason="Too few sites.", remedy="Call <them>.")


STUDIES = {
    "crowded": lambda wards: wards.new(sites=tuple(f"site-{n}" for n in range(60))).begin().whole_round(1),
    "binary": lambda wards: wards.finished(),
    "multilabel": lambda wards: wards.finished("multilabel"),
    "multiclass": lambda wards: wards.finished("multiclass"),
    "evaluate": lambda wards: wards.new(wards.study("evaluate")).begin().closing_trip(0).finish(0),
    "queued": lambda wards: wards.new().end(StudyState.QUEUED),
    "opened": lambda wards: wards.new().begin(),
    "troubled": troubled,
    "long": lambda wards: wards.finished(rounds=45),
}


@pytest.mark.parametrize("kind", STUDIES)
def test_every_study_gives_a_whole_page_that_loads_nothing(wards: Any, kind: str) -> None:
    page = read(STUDIES[kind](wards))
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not {"src", "srcset", "data", "action"} & {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not re.search(r"https?:|url\(|@import|//\w", page.text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert "For research only." in page.text


def test_the_first_screen_holds_the_result_and_its_limits(wards: Any) -> None:
    text = " ".join(read(wards.finished()).text.split())
    order = ["test AUROC of", "95 % interval", "For research only.", "diagnosis", "Validation, model by model"]
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)


def test_an_end_before_its_time_comes_first(wards: Any) -> None:
    page = read(troubled(wards))
    assert page.text.index("This study failed. Too few sites.") < page.text.index("was not scored on test patients")
    assert "Call <them>." in page.text
    for words in ("9 against 3", "far larger than those of the last rounds", "It had not opened the study."):
        assert words in page.text


def test_what_people_wrote_is_text(wards: Any) -> None:
    page = read(wards.finished(description=HOSTILE))
    assert HOSTILE in page.text
    assert "script" not in page.tags


def test_charts_are_named_and_their_text_is_text(wards: Any) -> None:
    page = read(wards.finished())
    ids = {value for name, value in page.attributes if name == "id"}
    named = [value.split() for name, value in page.attributes if name == "aria-labelledby"]
    assert all(set(names) <= ids for names in named)
    assert ("role", "img") in page.attributes
    assert "Participation of each site in each round" in page.text
    assert "rounds behind the model" in page.text


def test_whether_every_site_is_served_stands_there_with_its_limits(wards: Any) -> None:
    text = " ".join(read(wards.finished()).text.split())
    for words in ("Does it serve every site?", "a gap of", "Cochran's Q is", "(Holm 1979)", "sensi- tivity"):
        assert words.replace("- ", "-") in text.replace("- ", "-")
    alone = " ".join(read(wards.new(sites=("north",)).begin().whole_round(1).closing_trip(1)).text.split())
    assert "Whether the sites differ cannot be said: fewer than two sites can be compared." in alone


def test_who_fell_back_is_named(wards: Any) -> None:
    assert "north, south, west computed on the CPU" in read(wards.new().begin(fell_back=True)).text
    assert "on the CPU:" not in read(wards.new().begin(device="cuda:0")).text


def test_what_a_private_study_withholds_is_called_withheld(wards: Any) -> None:
    private = {
        "model": {"norm": "none"},
        "training": {"steps_per_round": 2, "batch_size": 8},
        "privacy": {"noise_multiplier": 1.5, "sampling_rate": 0.1, "patients_per_step": 8},
    }
    asked = wards.study().model_dump(mode="json", exclude_none=True) | private
    ward = wards.new(type(wards.study()).model_validate(asked)).begin()
    ward.say(ward.opening(1))
    for site in ward.sites:
        ward.say(ward.ready(1, site, examples=0, patients=0, scores=(), seconds={}), ward.spooled(1, site))
    ward.commit(1, *ward.sites)
    text = read(ward).text
    for words in ("the site withholds it: the study trains privately", "the number of images trained on are withheld"):
        assert words in text
    for words in ("0 images", "did not score it", "each site's median"):
        assert words not in text
    table = (ward.folder.path / "report.csv").read_text()
    assert "round,north,1,examples.why,withheld: the study trains privately" in table
    assert "round,north,1,examples,0" not in table


def test_the_same_journal_gives_the_same_bytes(wards: Any) -> None:
    ward = wards.finished()
    path = write_report(ward.folder)
    first = path.read_bytes(), path.with_name("report.csv").read_bytes()
    write_report(ward.folder)
    assert (path.read_bytes(), path.with_name("report.csv").read_bytes()) == first
    assert path.name == "report.html"
    assert path.stat().st_mode & 0o777 == 0o600


def test_torch_is_not_needed() -> None:
    code = "import server.report, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "less than 1 s"),
        (1.24, "1.2 s"),
        (99.0, "99 s"),
        (100.0, "1.7 min"),
        (740.0, "12 min"),
        (37_000.0, "10 h"),
        (1e7, "2800 h"),
    ],
)
def test_a_time_that_is_known_to_two_digits(seconds: float, text: str) -> None:
    assert coarse(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.0, "0.00 s"), (0.52, "0.5 s"), (59.97, "1 min 00 s"), (90, "1 min 30 s"), (7500, "2 h 05 min")],  # noqa: RUF001
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (4_694_928, "4.7 MB"), (2e13, "20.0 TB")])
def test_sizes(number: float, text: str) -> None:
    assert size(number) == text


def test_shares() -> None:
    assert (share(None), share(0.94149)) == ("–", "0.941")  # noqa: RUF001


# ------------------------------------------------------------------ a real browser


def test_a_browser_shows_it_and_is_asked_to_load_nothing(wards: Any, chromium: str, tmp_path: Path) -> None:
    page, picture = write_report(wards.finished().folder), tmp_path / "page.png"
    done = shown(chromium, page, tmp_path, f"--screenshot={picture}")
    with Image.open(picture) as image:
        assert image.size == (1000, 1400)
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 20)) > 50  # paper, ink and what lies between
    assert "CONSOLE" not in done.stderr


def test_a_load_that_was_planted_would_be_seen(wards: Any, chromium: str, tmp_path: Path) -> None:
    page = write_report(wards.finished().folder)
    planted = page.read_text(encoding="utf-8").replace("<h1>", '<img src="http://outside.test/pixel.png"><h1>')
    page.write_text(planted, encoding="utf-8")
    done = shown(chromium, page, tmp_path, f"--screenshot={tmp_path / 'page.png'}")
    assert re.search("CONSOLE.*outside.test", done.stderr)
