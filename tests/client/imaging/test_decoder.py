"""The process that decodes: whatever a file does to it costs that file alone."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from client.imaging.decoder import Decoder, Limits, decoding_command
from client.imaging.form import Facts
from client.imaging.grid import Scan
from client.imaging.reasons import Reason
from client.imaging.stacks import Piece, Stack
from shared.canonical import digest

LOUD = str(Path(__file__).parents[2] / "loud_decoding.py")
QUICK = Limits(seconds=1, memory_bytes=2**31)  # a second is long for what ends, and short for what does not


@pytest.fixture
def decoder(tmp_path: Path) -> Iterator[Decoder]:
    command = (sys.executable, LOUD, str(tmp_path), str(QUICK.seconds), str(QUICK.memory_bytes))
    before = psutil.Process().children()
    with Decoder(command, Limits(seconds=60)) as decoder:
        yield decoder
    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("raise", Reason.UNREADABLE),
        ("crash", Reason.DECODER_CRASHED),
        ("grow", Reason.MEMORY_LIMIT),
        ("write", Reason.UNREADABLE),
        ("lie", Reason.UNREADABLE),
        ("babble", Reason.UNREADABLE),
    ],
)
def test_a_file_costs_itself_alone(tmp_path: Path, decoder: Decoder, word: str, reason: Reason) -> None:
    late = f"late {word}"
    for name, text in {"bad": word, "late": late, "good": "P-1"}.items():
        (tmp_path / name).write_text(text)
    if word not in ("lie", "babble"):  # said too early, these would only answer the wrong question
        assert decoder.facts("bad")[1] is reason
    assert list(decoder.pixels("late", content=digest(late.encode()), frames=[0, 0])) == [reason, reason]
    assert decoder.facts("good") == (digest(b"P-1"), Facts(patient="P-1"))
    (image,) = decoder.pixels("good", content=digest(b"P-1"), frames=[0])
    assert isinstance(image, np.ndarray)
    assert not any(path.stat().st_size for path in tmp_path.glob("written"))


def test_what_sleeps_is_killed(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("hang")
    (tmp_path / "good").write_text("P-1")
    before = psutil.Process().children()
    with Decoder((sys.executable, LOUD, str(tmp_path), "60", str(2**32)), QUICK) as decoder:
        assert decoder.facts("bad") == ("", Reason.DECODER_HUNG)
    assert psutil.Process().children() == before


def test_many_slow_frames_cost_no_more_than_a_file_may(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("three late hang")
    limits = Limits(seconds=1000, file_seconds=1)
    with Decoder((sys.executable, LOUD, str(tmp_path), "60", str(2**32)), limits) as decoder:
        images = list(decoder.pixels("bad", content=digest(b"three late hang"), frames=[0, 1, 2]))
    assert images[1:] == [Reason.DECODER_HUNG] * 2


def test_what_works_late_on_a_busy_machine_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("toil")
    with Decoder((sys.executable, LOUD, str(tmp_path), "60", str(2**32)), QUICK) as decoder:
        assert decoder.facts("good") == (digest(b"toil"), Facts(patient="toil"))


def test_what_spins_runs_out_of_processor_time(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "bad").write_text("spin")
    assert decoder.facts("bad") == ("", Reason.DECODER_HUNG)


def test_the_frames_before_the_bad_one_are_kept(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "three").write_text(text := "three late crash")
    first, *others = decoder.pixels("three", content=digest(text.encode()), frames=[0, 1, 2])
    assert isinstance(first, np.ndarray)
    assert others == [Reason.DECODER_CRASHED] * 2


def test_a_name_may_be_any_bytes(tmp_path: Path, decoder: Decoder) -> None:
    for name in (b"M\xfcller", b"new\nline", b"-rf", b"..%2f", "\u202e\u00e9 ".encode()):
        (tmp_path / os.fsdecode(name)).write_text("P-1")
        assert decoder.facts(os.fsdecode(name)) == (digest(b"P-1"), Facts(patient="P-1"))


def test_a_file_that_grows_without_end_is_not_read(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "link").symlink_to("/proc/self/status")
    assert decoder.facts("link") == ("", Reason.UNREADABLE)


def test_no_module_is_imported_from_among_the_images(
    tmp_path: Path, dicom_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("client.py", "numpy.py", "pydicom.py", "json.py"):
        (tmp_path / name).write_text("open('imported', 'w').close()\nraise SystemExit")
    (tmp_path / "1.dcm").write_bytes(dicom_bytes())
    monkeypatch.chdir(tmp_path)
    with Decoder(decoding_command("dicom", tmp_path)) as decoder:
        assert isinstance(decoder.facts("1.dcm")[1], Facts)
    assert not (tmp_path / "imported").exists()


def test_another_content_than_the_catalogued_is_refused(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "1").write_text("P-1")
    assert list(decoder.pixels("1", content=digest(b"P-2"), frames=[0])) == [Reason.UNREADABLE]


def test_in_a_study_of_volumes_no_other_shape_is_believed(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("P-1")
    command = (sys.executable, LOUD, str(tmp_path), "60", str(2**32))
    for volume, believed in (((2, 2), True), ((2, 2, 2), False)):
        with Decoder(command, Limits(seconds=60), volume=volume) as decoder:
            (image,) = decoder.pixels("good", content=digest(b"P-1"), frames=[0])
            assert isinstance(image, np.ndarray) is believed


def test_only_a_format_of_slices_makes_volumes_of_files(tmp_path: Path, decoder: Decoder) -> None:
    (tmp_path / "good").write_text("P-1")
    stack = Stack((Piece("good", digest(b"P-1")),) * 3, Scan((3, 2, 2), (1.0, 1.0, 1.0)))
    assert decoder.volume(stack) is Reason.UNREADABLE
    assert decoder.facts("good")[1] == Facts(patient="P-1")
