"""Runs a study that was launched in a provisioned federation, through Ray.

python -m deploy.simulation FEDERATION SITES STUDY
"""

import sys
from pathlib import Path

from deploy.simulation.ray_engine import simulate

simulate(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
