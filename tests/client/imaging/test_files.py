"""Every file under a folder, and what hides others: nothing is missing without a word."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.imaging.decoder import Decoder, decoding_command
from client.imaging.files import files_under
from client.imaging.reasons import Reason
from shared.errors import ResourceError

_NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that nobody reaches from above, with a closed one in it and a link."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a/1.png", "a/closed/2.png", "elsewhere/3.png"):
        (place := tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        place.write_text("seen")
    shutil.move(tmp_path / "images" / "elsewhere", tmp_path / "elsewhere")
    (tmp_path / "images" / "linked").symlink_to("../elsewhere")
    return Path("images")


def test_what_hides_files_is_named_in_their_place(here: Path) -> None:
    (here / "a" / "closed").chmod(0)
    with as_nobody():
        found = [path.relative_to(here).as_posix() for path in files_under(here)]
    (here / "a" / "closed").chmod(0o700)
    assert found == ["b.png", "a/1.png", "a/closed", "linked"]
    assert "a/closed/2.png" in {path.relative_to(here).as_posix() for path in files_under(here)}


def test_a_folder_of_images_that_is_closed_itself_is_an_error(here: Path) -> None:
    here.chmod(0)
    with as_nobody(), pytest.raises(ResourceError, match="Permission denied"):
        list(files_under(here))
    here.chmod(0o700)


def test_a_share_that_lists_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be listed"):
        list(files_under(tmp_path / "gone"))


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything")
def test_each_has_its_reason(here: Path) -> None:
    (here / "b.png").chmod(0)
    rights = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    with Decoder((*rights, *decoding_command("pictures", here.absolute()))) as decoder:
        found = {name: decoder.facts(name)[1] for name in ("b.png", "a/1.png", "a/closed", "linked")}
    assert found == {
        "b.png": Reason.NOT_PERMITTED,
        "a/1.png": Reason.NOT_AN_IMAGE,
        "a/closed": Reason.NOT_PERMITTED,
        "linked": Reason.FOLDER_LINK,
    }
