"""What a site says and tells before its certificate ends."""

import time
from types import SimpleNamespace
from typing import Any, cast

from client.admission import Reach
from client.renewal import ENDS, Renewals
from client.site import Site
from server.membership.authority import certificate_pem, issue_authority, issue_site
from shared.keys import make_transport_key

DAY_S = 86_400


def test_it_is_said_and_told_once_at_30_7_and_1_days() -> None:
    now, key = int(time.time()), make_transport_key()
    authority = issue_authority(key, name="f", now=now)
    public = make_transport_key().public_key()
    certificate = issue_site(authority, key, public, site="a", now=now, until=now + 100 * DAY_S)
    said: list[str] = []
    told: list[str] = []
    parts: Any = {
        "enrolment": SimpleNamespace(reach=Reach("localhost", 1, b"", certificate_pem(certificate))),
        "say": said.append,
        "alarm": SimpleNamespace(tell=told.append),
    }
    renewals = Renewals(cast(Site, SimpleNamespace(**parts)))
    for days_left in (60, 31, 29, 28, 8, 6, 5, 0.5, 0.4):
        renewals.warn(now + (100 - days_left) * DAY_S)
    assert said == [ENDS[days] for days in (30, 7, 1)]
    assert told == ["certificate_expiring"] * 3
