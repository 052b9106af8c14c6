"""The checks of `wardround site check`, in their order: each line of its page is one of them."""

from collections.abc import Iterator

from client.checks import baseline, configuration, images, line, machine, standing, work
from client.checks.grounds import Grounds
from shared.preflight import Check

_LONG_S = 7200.0  # every image is read
_READ = ("site.toml",)


def checks_for(grounds: Grounds) -> Iterator[Check[Grounds]]:
    """Those that can be made on these grounds: more with a study, and one more where a line is to be left idle."""
    yield Check("site.toml", configuration.look_at_settings)
    yield Check("standing", standing.look_at_standing)
    yield Check("keys", configuration.look_at_keys)
    yield Check("policy", configuration.look_at_policy, after=_READ)
    yield Check("software", configuration.look_at_software)
    yield Check("proxy", line.look_at_proxy, after=_READ)
    yield Check("name", line.look_at_name, after=("proxy",))
    yield Check("port", line.look_at_port, after=("name",), limit_s=30.0)
    yield Check("certificate", line.look_at_tls, after=("port",), limit_s=60.0)
    yield Check("roster", line.look_at_registration, after=("keys", "certificate"), limit_s=90.0)
    yield Check("clock", line.look_at_clock, after=("keys", "certificate"), limit_s=120.0)
    yield Check("speed", line.look_at_speed, after=("keys", "certificate"), limit_s=120.0)
    if grounds.idle_s is not None:
        yield Check("idle line", line.look_at_idling, after=("speed",), limit_s=grounds.idle_s + 120.0)
    yield Check("processors", machine.look_at_processors, after=_READ)
    yield Check("memory", machine.look_at_memory)
    yield Check("shared memory", machine.look_at_shared_memory)
    yield Check("disk", machine.look_at_disk, after=_READ, limit_s=60.0)
    yield Check("retention", machine.look_at_retention, after=_READ)
    yield Check("encryption", machine.look_at_encryption)
    yield Check("device", work.look_at_device, after=_READ, limit_s=work.WORKER_S + 30.0)
    yield Check("labels", images.look_at_labels, after=_READ, limit_s=120.0)
    if grounds.study is not None:
        yield Check("permission", images.look_at_permission, after=("policy",), limit_s=60.0)
        yield Check("images", images.look_at_images, after=("labels",), limit_s=_LONG_S)
        yield Check("dry run", work.look_at_dry_run, after=("images", "device", "disk"), limit_s=work.DRY_RUN_S + 60.0)
    if grounds.study is not None and grounds.baseline:
        yield Check("baseline", baseline.look_at_baseline, after=("dry run",), limit_s=baseline.LIMIT_S)
