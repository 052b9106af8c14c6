"""The hospital's house: the agent that holds the keys, and the worker that sees the images."""
