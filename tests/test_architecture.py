"""The tree keeps its rules, and each rule finds the breach that it is there for.

The rules (`architecture.py`) are held against this tree, where they find nothing, and against the
same tree with a breach planted in it, where they must find that one.
"""

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from architecture import (
    AGENT,
    NOT_IN_AGENT,
    PACKAGES,
    ROOT,
    RULES,
    Rule,
    Tree,
    agent_is_light,
    durable,
    libraries,
    literal_remarks,
    no_code_from_data,
    no_cycles,
    one_door,
    one_sender,
    parsed,
    read,
    sizes,
    unforeseeable,
    walls,
)


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read(ROOT)


@pytest.fixture(scope="module")
def sound(tree: Tree) -> Tree:
    """The tree, and beside it what some breaches need."""
    return tree | dict(BESIDE)


@pytest.fixture(scope="module")
def before(sound: Tree) -> Callable[[Rule], frozenset[str]]:
    """What a rule finds before anything is planted."""
    return functools.cache(lambda rule: frozenset(rule(sound)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(tree: Tree, rule: Rule) -> None:
    assert list(rule(tree)) == []


# ------------------------------------------------------------------ planted breaches


PLANTS: list[tuple[Rule, str, str]] = [
    (walls, "shared/planted.py", "import server.rounds"),
    (walls, "client/planted.py", "def f():\n    from server import spool"),
    (walls, "server/planted.py", "from deploy.cli import main"),
    (walls, "client/planted.py", "from . import agent"),
    (walls, "deploy/audit/planted.py", "def f():\n    from server.records import RECORDS"),
    (walls, "deploy/audit/planted.py", "from deploy.local import LocalFederation"),
    (libraries, "server/planted.py", "import torch"),
    (durable, "server/planted.py", "from shared.durable import never_waiting"),
    (durable, "deploy/planted.py", "import shared.durable\nwith shared.durable.never_waiting():\n    pass"),
    (durable, "client/planted.py", "import os\nos.fsync(3)"),
    (libraries, "client/planted.py", "from flwr.client import ClientApp"),
    (libraries, "shared/planted.py", "from cryptography.hazmat.primitives import hashes"),
    (agent_is_light, "client/policy.py", "import pydicom"),
    (agent_is_light, "client/policy.py", "def f():\n    import torch"),
    (agent_is_light, "client/policy.py", "from client.planted_worker import x"),
    (no_cycles, "shared/planted_worker.py", "import shared.planted"),
    (no_code_from_data, "shared/planted.py", "import pickle"),
    (no_code_from_data, "client/planted.py", "import torch as t\nt.load('model')"),
    (no_code_from_data, "client/planted.py", "from torch import load"),
    (no_code_from_data, "client/planted.py", "import numpy as np\nnp.load('a.npz', allow_pickle=True)"),
    (no_code_from_data, "client/planted.py", "import yaml\nyaml.load('a')"),
    (no_code_from_data, "client/planted.py", "eval('1')"),
    (no_code_from_data, "client/planted.py", "exec('1')"),
    (no_code_from_data, "client/planted.py", "import importlib\nimportlib.import_module('a')"),
    (no_code_from_data, "server/planted.py", "import subprocess\nsubprocess.run('ls', shell=True)"),
    (one_door, "client/planted.py", "from client.egress import Released\nReleased(b'patients')"),
    (one_door, "client/planted.py", "from client.egress import Released as R\nnew = R"),
    (one_door, "client/agent.py", "from client import egress\negress.Released(b'patients')"),
    (one_door, "client/planted.py", "from client.egress import Released\nobject.__new__(Released)"),
    (one_door, "client/planted.py", "from copy import replace\ndef f(site, mine):\n    replace(site, egress=mine)"),
    (one_door, "deploy/planted.py", "def f(site, mine):\n    site.egress = mine"),
    (one_sender, "client/planted.py", "def f(self, update):\n    self._link.send(update)"),
    (one_sender, "client/planted.py", "from client.link import Link as Anything"),
    (one_sender, "client/site.py", "from client.link import Link as Any\ndef f(x: Any):\n    x.send(b'patients')"),
    (one_sender, "client/planted.py", "def f(x):\n    getattr(x, 'send')(b'patients')"),
    (one_sender, "deploy/planted.py", "from client import link"),
    (unforeseeable, "client/planted.py", "from shared.randomness import PrivateRandom as P\nP.seeded_for_tests(1)"),
    (literal_remarks, "client/planted.py", "from shared.remarks import remark\ndef f(x):\n    remark(f'{x} fell')"),
    (
        literal_remarks,
        "server/planted.py",
        "from shared.remarks import remark as r\ndef f(x):\n    w = f'{x}'\n    r(w)",
    ),
    (literal_remarks, "client/planted.py", "from shared.remarks import trouble\ndef f(e):\n    trouble(e, e.what)"),
    (sizes, "shared/planted.py", "\n" * 351),
    (sizes, "shared/planted.py", "def f():\n" + "    pass\n" * 50),
]


BESIDE = (
    *parsed("client/planted_worker.py", "import torch\nx = 1").items(),
    *parsed("shared/planted.py", "import shared.planted_worker").items(),
    *parsed("shared/planted_worker.py", "").items(),
)


@pytest.mark.parametrize(("rule", "path", "code"), PLANTS)
def test_a_planted_breach_is_found(
    sound: Tree, before: Callable[[Rule], frozenset[str]], rule: Rule, path: str, code: str
) -> None:
    found = set(rule(sound | parsed(path, code + "\n"))) - before(rule)
    assert any(path in breach for breach in found)


def test_a_bypass_of_the_door_is_found_in_a_copy_of_the_tree(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    bypass = "from client.egress import Released\n\ndef leak(site):\n    site.link.send(None, Released(b'patients'))\n"
    (tmp_path / "client/imaging/planted.py").write_text(bypass, encoding="utf-8")
    copy = read(tmp_path)
    assert "client/imaging/planted.py:4 takes hold of Released" in list(one_door(copy))
    assert "client/imaging/planted.py:4 sends past the agent" in list(one_sender(copy))


def test_released_may_be_named_as_a_type() -> None:
    code = "from client.egress import Released\ndef f(r: Released) -> bool:\n    return isinstance(r, Released)\n"
    assert list(one_door(parsed("client/planted.py", code))) == []


@pytest.mark.parametrize("name", [name for name in AGENT if (ROOT / f"client/{name}.py").exists()])
def test_a_running_agent_holds_no_torch(name: str) -> None:
    """The libraries between count too, so a real process is asked."""
    code = f"import client.{name}, sys; print(sorted({NOT_IN_AGENT!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
