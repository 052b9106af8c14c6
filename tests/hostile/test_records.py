"""Invitations and join requests that were changed on their way."""

import pytest
from mutations import Input, changed, judge, sizes

from shared.canonical import canonical
from shared.enrolment import Invitation, make_join_request, read_invitation, read_join_request
from shared.errors import TrustError
from shared.keys import make_identity_key, make_transport_key, transport_pem

INVITATION = Invitation(
    federation="lungs",
    site="north",
    host="fl.example",
    fleet_port=9092,
    ca_certificate="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    coordinator_key="ab" * 32,
    patient_salt="5a" * 32,
    token="7e" * 32,
    expires=1000,
)
INVITED = canonical(INVITATION.model_dump(mode="json"))


@sizes
def test_a_changed_invitation_is_refused_or_is_another_one(inputs: int) -> None:
    """Whoever answers another invitation is not admitted: the join request names it by its digest."""

    def check(given: Input) -> None:
        data = changed(INVITED, given.todo)
        try:
            read = read_invitation(data)
        except TrustError:
            return
        assert canonical(read.model_dump(mode="json")) == data
        assert (read.digest() == INVITATION.digest()) is (data == INVITED)

    judge(check, inputs=inputs)


@sizes
def test_a_changed_join_request_is_refused(inputs: int) -> None:
    request = make_join_request(
        INVITATION, transport_key=transport_pem(make_transport_key().public_key()), identity_key=make_identity_key()
    )

    def check(given: Input) -> None:
        data = changed(request, given.todo)
        if data == request:
            return
        with pytest.raises(TrustError):
            read_join_request(data)

    judge(check, inputs=inputs)
