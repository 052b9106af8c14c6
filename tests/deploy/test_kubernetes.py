"""The manifests are what Kubernetes takes, strictly; nothing in them runs as root or on a writable root."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
VALIDATE = Path(sys.executable).with_name("kubernetes-validate")


def parts(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(path: Path, kind: str) -> dict[str, Any]:
    return next(part for part in parts(path) if part["kind"] == kind)


def test_every_manifest_is_valid() -> None:
    done = subprocess.run([VALIDATE, "--strict", "--quiet", *MANIFESTS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_wrong_key_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(MANIFESTS[0].read_text().replace("replicas:", "replica:"))
    assert subprocess.run([VALIDATE, "--strict", wrong], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_pod_is_restricted_probed_and_walled_in(path: Path) -> None:
    pod = of_kind(path, "StatefulSet")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["livenessProbe"]["exec"]["command"][:2] == ["wardround", "health"]
    policy = of_kind(path, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert bool(policy["ingress"]) is (path.stem == "server")
    assert bool(policy["egress"]) is (path.stem == "site")
