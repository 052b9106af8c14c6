"""What came from a PACS fits a terminal, however long its address is."""

import pytest
from rich.console import Console, Group

from client.cli.pacs_log import Row, shown

WEB = "https://pacs.hospital.example:8443/orthanc/projects/radiology/dicom-web"


def test_a_long_address_stands_once_below_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("2026-11-02 03:04", "pulled", WEB, "12,345", "45,678.9", "whole"),
        Row("2026-11-02 04:04", "pulled", "ORTHANC@pacs:4242", "1", "0.1", "link"),
        Row("2026-11-03 03:04", "pulled", WEB, "", "", "killed, or runs"),
    ]
    Console(width=80).print(Group(*shown(rows)), markup=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 6 and max(map(len, lines)) <= 80
    assert lines[3].split() == ["2026-11-03", "03:04", "pulled", "1", "killed,", "or", "runs"]
    assert lines[4:] == [f"PACS 1: {WEB}", "PACS 2: ORTHANC@pacs:4242"]
