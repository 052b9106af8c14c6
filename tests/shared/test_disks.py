"""What is seen of a disk."""

import os
from pathlib import Path

import pytest

from shared.disks import bytes_under, encrypted, write_speed


def devices(root: Path, folder: Path, **layers: dict[str, str]) -> Path:
    """Block devices as sysfs shows them: each with files, and `on` what it lies; the first is under `folder`."""
    number = folder.stat().st_dev
    (root / "block").mkdir()
    for name, said in layers.items():
        place = root / "devices" / name
        (place / "slaves").mkdir(parents=True)
        for file, text in said.items():
            if file == "on":
                (place / "slaves" / text).symlink_to(root / "devices" / text)
            else:
                (place / file).parent.mkdir(exist_ok=True)
                (place / file).write_text(text)
    first = next(iter(layers))
    (root / "block" / f"{os.major(number)}:{os.minor(number)}").symlink_to(root / "devices" / first)
    return root / "block"


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({"sda1": {"partition": "1\n"}}, False),
        ({"dm0": {"dm/uuid": "CRYPT-LUKS2-abc\n", "on": "sda"}, "sda": {"device": ""}}, True),
        (
            {
                "dm1": {"dm/uuid": "LVM-abc\n", "on": "dm0"},
                "dm0": {"dm/uuid": "CRYPT-LUKS2-abc\n", "on": "sda"},
                "sda": {"device": ""},
            },
            True,
        ),
        ({"dm1": {"dm/uuid": "LVM-abc\n", "on": "sda"}, "sda": {"device": ""}}, False),
        ({"zram0": {"size": "1\n"}}, None),
    ],
)
def test_a_disk_is_encrypted_if_a_layer_of_it_is(
    tmp_path: Path, layers: dict[str, dict[str, str]], found: bool | None
) -> None:
    assert encrypted(tmp_path, sys=devices(tmp_path, tmp_path, **layers), mounts=tmp_path / "none") is found


def test_of_a_file_system_without_a_device_nothing_is_known(tmp_path: Path) -> None:
    assert encrypted(tmp_path, sys=tmp_path / "none", mounts=tmp_path / "none") is None


def test_what_is_written_to_try_a_disk_does_not_stay(tmp_path: Path) -> None:
    assert write_speed(tmp_path, size=1 << 20) > 0
    assert list(tmp_path.iterdir()) == []


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1234")
    (tmp_path / "b").write_bytes(b"12")
    (tmp_path / "again").hardlink_to(tmp_path / "b")
    assert bytes_under(tmp_path) == 6
    assert bytes_under(tmp_path / "nowhere") == 0
