"""What can go wrong outside the program.

    SnoopkitError
    ├── CompileError        clang refused the source, or the source lacks what a package needs
    ├── PackageError        a package, object, BTF or meta section that is malformed or hostile
    ├── OptionError         a value that one of the package's own options can't take
    ├── DecodeError         a record that doesn't fit its event type
    └── KernelError (also an OSError: keeps the kernel's errno)
        ├── UnsupportedError    this kernel, or this build of it, lacks a feature
        ├── LoadError           the object, a map or a program was refused; has the verifier's log
        ├── AttachError         a program could not be attached to its target
        └── MapError            a map could not be read or written

A message reads ``stage: object: cause (what to do)``. Misuse of the API raises Python's own
``TypeError``, ``ValueError`` and ``RuntimeError`` instead.
"""

from __future__ import annotations

__all__ = [
    "AttachError",
    "CompileError",
    "DecodeError",
    "KernelError",
    "LoadError",
    "MapError",
    "OptionError",
    "PackageError",
    "SnoopkitError",
    "UnsupportedError",
]


class SnoopkitError(Exception):
    """Base of everything that snoopkit raises on purpose.

    `hint` says what the user can do about it and is shown in brackets behind the cause.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class CompileError(SnoopkitError):
    """`diagnostics` is clang's own text, with the user's file names; empty if clang never ran."""

    def __init__(self, message: str, *, hint: str | None = None, diagnostics: str = "") -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = diagnostics


class PackageError(SnoopkitError):
    """The bytes of a package, or of something inside it, can't be trusted."""


class OptionError(SnoopkitError):
    """A package's own option was given a value that its type can't hold, or doesn't exist."""


class DecodeError(SnoopkitError):
    """A record doesn't fit the event type it claims to have."""


class KernelError(SnoopkitError, OSError):
    """Comes from the kernel; `errno` is the kernel's, or None where it gave none. `program` is the name of the one
    program that was refused, None where it isn't known or was something else."""

    program: str | None = None

    def __init__(self, message: str, *, errno: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = errno


class UnsupportedError(KernelError):
    """This kernel can't do it. `feature` names what is missing, as `snoopkit doctor` would."""

    def __init__(
        self, message: str, *, feature: str, errno: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.feature = feature


class LoadError(KernelError):
    """Creating maps or loading programs failed. `log` is the whole log of libbpf and the verifier."""

    def __init__(
        self, message: str, *, errno: int | None = None, hint: str | None = None, log: str = ""
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.log = log


class AttachError(KernelError):
    """A loaded program could not be attached to its target."""


class MapError(KernelError):
    """A map operation failed."""
