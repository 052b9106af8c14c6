"""The checks of `wardround site check`, by what they look at; `registry.py` has their order."""
