"""The words both sides agree on. Pure: no network, no clock, no device."""
