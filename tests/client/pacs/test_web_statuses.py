"""What is made of the answers of a DICOMweb service that does not simply find: a wrong address, a proxy, a restart."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from scripted_dicomweb import Answers, service

from client.pacs.account import Account
from client.pacs.archive import Away
from client.pacs.inflow import Inflow
from client.pacs.pull import Pull
from client.pacs.query import Keys, Level, Query, Series
from client.pacs.shelf import Shelf
from client.pacs.web import Web
from shared.errors import LinkError

EXAM: Keys = {"StudyInstanceUID": ""}
BELOW: Keys = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": ""}
AN_EXAM = (200, [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}])

Asking = Callable[[Answers], AbstractContextManager[Web]]


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """A service with its answers, asked from here."""

    @contextmanager
    def go(answers: Answers) -> Iterator[Web]:
        with service(answers) as settings, closing(Web(settings, tmp_path)) as web:
            yield web

    return go


@pytest.mark.parametrize("status", [404, 410])
def test_that_nothing_is_at_the_address_is_no_empty_pacs(asking: Asking, status: int) -> None:
    with asking([(status, [])]) as web, pytest.raises(LinkError, match=str(status)) as caught:
        list(web.find(Level.EXAM, EXAM))
    assert not isinstance(caught.value, Away)
    assert "data.pacs.web.url" in caught.value.remedy


@pytest.mark.parametrize("known", [(200, []), (204, []), AN_EXAM])
def test_a_pacs_that_says_404_where_no_exam_fits_is_asked_whether_it_is_there(
    asking: Asking, known: tuple[int, object]
) -> None:
    with asking([(404, []), known, (404, [])]) as web:
        assert list(web.find(Level.EXAM, EXAM)) == []
        assert list(web.find(Level.EXAM, EXAM)) == []  # and not asked again: that would be a third answer of 404


@pytest.mark.parametrize("status", [204, 404, 410])
def test_an_exam_that_went_meanwhile_has_nothing_below_it(asking: Asking, status: int) -> None:
    with asking([(status, [])]) as web:
        assert list(web.find(Level.SERIES, BELOW)) == []


def test_a_page_behind_the_last_may_be_absent(asking: Asking) -> None:
    with asking([AN_EXAM, (404, [])]) as web:
        assert [found["StudyInstanceUID"] for found in web.find(Level.EXAM, EXAM)] == ["1.2"]


@pytest.mark.parametrize("said", [["1.2"], {"studies": []}, None])
def test_json_that_is_not_of_dicom_is_no_empty_pacs(asking: Asking, said: object) -> None:
    with asking([(200, said)]) as web, pytest.raises(LinkError, match="as DICOMweb does"):
        list(web.find(Level.EXAM, EXAM))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("level", [Level.EXAM, Level.SERIES])
def test_a_pacs_that_restarts_is_away(asking: Asking, status: int, level: Level) -> None:
    with asking([(status, [])]) as web, pytest.raises(Away, match=str(status)):
        list(web.find(level, BELOW))


class Failures:
    """An intake of which only the failures count."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    def turn(self) -> None:
        pass

    def take(self, instance: str, pieces: object) -> bool:
        raise AssertionError

    def fail(self, instance: str, reason: str) -> None:
        self.failed[instance] = reason


def test_an_instance_behind_a_proxy_waits_for_the_pacs_and_one_that_the_pacs_cannot_read_fails_alone(
    asking: Asking,
) -> None:
    failures, wanted = Failures(), [{"SOPInstanceUID": "1.2.3"}]
    with asking([(502, []), (500, [])]) as web:
        with pytest.raises(Away):
            web.fetch(Series("1.2", "1.2.1"), wanted, failures)
        assert failures.failed == {}
        web.fetch(Series("1.2", "1.2.1"), wanted, failures)
    assert failures.failed == {"1.2.3": "pacs_error"}


def test_a_pull_outlives_a_restart_of_the_pacs(tmp_path: Path) -> None:
    restart: Answers = [(status, []) for status in (502, 504, 500, 503)]
    account, shelf = Account(), Shelf(tmp_path, free_bytes=0)
    said = [AN_EXAM, (200, []), *restart, (200, [])]
    with service(said) as settings, shelf.open(), closing(Web(settings, tmp_path)) as web:
        inflow = Inflow(shelf, account, in_hours=lambda: True)
        query, waits = Query(settings.query), (0.0,) * len(restart)
        pull = Pull(web, query, shelf=shelf, inflow=inflow, account=account, back_off_s=waits)
        pull.run(pull.exams(), lanes=1)
    assert (account.exams, account.series, account.others) == (1, 0, 0)
