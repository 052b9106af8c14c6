import os
from collections.abc import Iterator

import pytest
import torch

from client.work.device import (
    ResolvedDevice,
    make_repeatable,
    memory_of,
    resolve_device,
    seed_layers,
    try_out,
    use_threads,
)
from shared.errors import ConfigError, ResourceError

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.fixture(autouse=True)
def _process_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_cpu_is_the_cpu() -> None:
    device = resolve_device("cpu")
    assert device.name == device.kind == "cpu"
    assert "configuration" in device.reason


@NO_CUDA
@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has mps")
def test_auto_falls_back_to_the_cpu_and_says_why() -> None:
    device = resolve_device("auto")
    assert device.name == "cpu"
    assert "CUDA" in device.reason
    assert "Apple" in device.reason


@NO_CUDA
@pytest.mark.parametrize("wish", ["cuda", "cuda:0", "cuda:7"])
def test_a_named_device_never_falls_back(wish: str) -> None:
    with pytest.raises(ResourceError, match=f"device = {wish} cannot be used: .*CUDA") as refused:
        resolve_device(wish)
    assert "auto" in refused.value.remedy


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has mps")
def test_mps_is_refused_where_there_is_none() -> None:
    with pytest.raises(ResourceError, match="no Apple GPU"):
        resolve_device("mps")


@pytest.mark.parametrize("wish", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "mps:0", "cpu:0", "CPU"])
def test_other_words_are_refused(wish: str) -> None:
    with pytest.raises((ConfigError, ResourceError), match="device = "):
        resolve_device(wish)


def test_threads_are_set_and_told() -> None:
    assert use_threads(1) == torch.get_num_threads() == 1
    assert use_threads(2) == torch.get_num_threads() == 2
    assert use_threads(0) == 2
    with pytest.raises(ValueError, match="threads"):
        use_threads(-1)


def test_repeatable_on_the_cpu_forbids_what_is_not() -> None:
    use_threads(1)
    note = make_repeatable(resolve_device("cpu"))
    assert "1 threads" in note
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))


def test_repeatable_keeps_denormal_numbers() -> None:
    torch.set_flush_denormal(True)
    make_repeatable(resolve_device("cpu"))
    assert torch.tensor([1e-40]) * 1 != 0


def test_repeatable_configures_cublas_and_forbids_short_cuts_on_cuda() -> None:
    note = make_repeatable(ResolvedDevice("cuda:0", "for the test"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32
    assert "varying_layers" in note


def test_mps_promises_nothing() -> None:
    assert "not promised" in make_repeatable(ResolvedDevice("mps", "for the test"))
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_layers_draw_what_torch_seeds() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**53 + 1)
        expected = torch.rand(5)
        seed_layers(2**53 + 1, torch.device("cpu"))
        assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize("wish", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_that_computes_rightly_says_how_much_memory_is_free(wish: str) -> None:
    device = resolve_device(wish)
    make_repeatable(device)
    try_out(device)
    free, whole = memory_of(device)
    assert 0 < free <= whole


def test_a_device_that_is_there_and_cannot_be_used_is_found() -> None:
    with pytest.raises(RuntimeError):
        try_out(ResolvedDevice("meta", "a device of torch that holds no values"))
