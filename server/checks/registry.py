"""The checks of `wardround federation check`, in their order: each line of its page is one of them."""

from server.checks import folder, machine
from server.checks.grounds import Grounds
from shared.preflight import Check

_READ = ("federation",)

CHECKS: tuple[Check[Grounds], ...] = (
    Check("keys", folder.look_at_keys),
    Check("federation", folder.look_at_federation, after=("keys",)),
    Check("clock", folder.look_at_clock, after=_READ),
    Check("certificate", folder.look_at_certificate, after=_READ),
    Check("roster", folder.look_at_roster, after=_READ),
    Check("name", machine.look_at_name, after=_READ),
    Check("port", machine.look_at_port, after=_READ),
    Check("control", machine.look_at_control, after=_READ),
    Check("limits", machine.look_at_limits, after=_READ),
    Check("memory", machine.look_at_memory),
    Check("disk", folder.look_at_disk, limit_s=60.0),
    Check("encryption", folder.look_at_encryption),
)
