"""Decisions without side effects: standard library and numpy only; no clock, no thread, no I/O."""
