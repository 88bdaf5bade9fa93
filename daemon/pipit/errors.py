"""Every error that Pipit raises on purpose, split by who has to act.

PipitError
├── ConfigError      the owner edits the YAML file (exit status 2)
├── HardwareError    the owner looks at a cable or a device; Pipit waits for it and tries again
└── ServiceError     the voice service or the way to it; ``retryable`` says whether trying again can help

A message names the thing, the value and the remedy.
"""

from __future__ import annotations


class PipitError(Exception):
    """Base of all deliberate errors."""


class ConfigError(PipitError):
    """The configuration cannot be used as it is.

    Args:
        problems: one line for each problem, complete with file, line, path, reason and suggestion.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class HardwareError(PipitError):
    """A device is missing, busy or unusable."""


class ServiceError(PipitError):
    """The voice service cannot be reached, refuses us or broke its protocol.

    Args:
        message: what happened and what to do about it, for the journal.
        retryable: whether the same request may succeed later without the owner's help.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable
