"""Benchmarks: each breaks or measures this installation, and prints one JSON object about it."""
