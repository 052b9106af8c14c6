"""Benchmarks: each prints one JSON object with the machine, the versions and what was measured."""
