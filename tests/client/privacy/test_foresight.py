"""Before a person agrees to a private study they read what it would bring the site's patients to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_site import LoneSite, count_steps
from private_site import ONE, open_study, private

from client.privacy.budget_file import open_budget
from client.privacy.budget_settings import BudgetSettings
from client.privacy.foresight import foreseen
from shared.errors import WireCode
from shared.study import Study


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=private(), lifetime_epsilon=10)
    yield lone
    lone.close()


def said(site: LoneSite, study: Study, *, most: float | None = 10) -> str:
    settings, file = BudgetSettings(lifetime_epsilon=most), open_budget(site.folder)
    return " ".join(foreseen(study, file, settings, price=count_steps))


def test_what_is_left_and_what_the_study_takes_is_said(site: LoneSite) -> None:
    assert said(site, private()) == (
        "This site allows a patient an epsilon of 10 for life; 10.00 of it is left."
        " It would bring a training patient to 6.00 of 10."
    )
    open_study(site, private(), ONE)
    assert "4.00 of it is left. It would bring a patient who has paid most here to 10.00 of 10." in said(
        site, private("hearts", rounds=2)
    )


def test_a_study_that_will_be_refused_is_called_so_and_is(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    assert "to 12.00 of 10: it will be refused, unless no such patient trains." in said(site, private("hearts"))
    assert "every training patient to 12.00 of 10 or more: it will be refused." in said(site, private("h", rounds=6))
    open_study(site, private("hearts"), ONE)
    assert site.refused() == [WireCode.OVER_BUDGET]


def test_a_study_that_is_opened_anew_is_not_counted_twice(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    assert "to 6.00 of 10." in said(site, private())


def test_without_a_limit_the_figure_alone_is_said(site: LoneSite) -> None:
    assert said(site, private(), most=None).endswith("to an epsilon of 6.00 for life; this site has no limit.")


def test_of_a_budget_that_lags_it_is_said_that_it_refuses(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    (site.folder / "budget.json").unlink()
    assert "until it is reconciled, this will be refused" in said(site, private("hearts"))
