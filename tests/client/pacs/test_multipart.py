"""The one part of an answer in parts, however the pieces fall."""

import pytest

from client.pacs.multipart import BadAnswer, only_part

CONTENT = bytes(range(256)) * 3 + b"\r\n--not-the-mark\r\n\r\n-- "
TYPE = 'multipart/related; type="application/dicom"; boundary=mark'


def body(content: bytes, *, before: bytes = b"", after: bytes = b"\r\n--mark--\r\n") -> bytes:
    return before + b"--mark\r\nContent-Type: application/dicom\r\n\r\n" + content + after


def read(data: bytes, *, step: int = 7, kind: str = TYPE) -> bytes:
    return b"".join(only_part(kind, (data[i : i + step] for i in range(0, len(data), step))))


@pytest.mark.parametrize("step", [1, 2, 5, 64, 10_000])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"a preamble\r\n"])
def test_the_content_comes_whole(step: int, before: bytes) -> None:
    assert read(body(CONTENT, before=before), step=step) == CONTENT


def test_the_boundary_may_be_quoted_and_the_answer_bare() -> None:
    assert read(body(CONTENT), kind='multipart/related; boundary="mark"; type="application/dicom"') == CONTENT
    assert read(CONTENT, kind="application/dicom; transfer-syntax=1.2") == CONTENT
    assert read(body(b"")) == b""


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (body(CONTENT, after=b""), TYPE),  # cut off
        (body(CONTENT, after=b"\r\n--mark"), TYPE),
        (body(CONTENT, after=b"\r\n--mark\r\n\r\nanother\r\n--mark--"), TYPE),
        (b"--mark--\r\n", TYPE),
        (b"--mark\r\n" + b"X: " + b"y" * 40_000, TYPE),
        (body(CONTENT), "multipart/related"),
        (body(CONTENT), "text/html"),
        (b"", ""),
    ],
)
def test_anything_else_is_no_answer(data: bytes, kind: str) -> None:
    with pytest.raises(BadAnswer):
        read(data, kind=kind)
