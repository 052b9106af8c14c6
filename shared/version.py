"""The version of this software; both sides name it in every message."""

VERSION = "0.1.0"
