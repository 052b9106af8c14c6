"""Invitations and join requests that were changed on their way."""

import pytest
from invited import invitation_bytes
from mutations import Input, changed, judge, sizes

from shared.enrolment import make_join_request, read_invitation, read_join_request
from shared.errors import TrustError
from shared.keys import make_identity_key, make_transport_key

INVITED = invitation_bytes()
INVITATION = read_invitation(INVITED)


@sizes
def test_a_changed_invitation_is_refused(inputs: int) -> None:
    def check(given: Input) -> None:
        data = changed(INVITED, given.todo)
        if data == INVITED:
            return
        with pytest.raises(TrustError):
            read_invitation(data)

    judge(check, inputs=inputs)


@sizes
def test_a_changed_join_request_is_refused(inputs: int) -> None:
    request = make_join_request(INVITATION, transport_key=make_transport_key(), identity_key=make_identity_key())

    def check(given: Input) -> None:
        data = changed(request, given.todo)
        if data == request:
            return
        with pytest.raises(TrustError):
            read_join_request(data)

    judge(check, inputs=inputs)
