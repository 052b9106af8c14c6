"""The networks in the wheel: which there are, and those that no library gives."""
