"""Starts both houses and owns nothing else: the command, the demo, the benchmarks."""
