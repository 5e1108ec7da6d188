"""Records to typed Python values, to rows of bytes and to JSON; and values to text. Knows no libbpf, no kernel."""

from collections.abc import Buffer, Callable, Iterable, Sequence  # type: ignore[attr-defined]
from typing import Any

from .layout import StructType
from .plans import EventPlan, Forms

class Program:
    cls: type
    names: tuple[str, ...]
    def __init__(
        self,
        name: str,
        size: int,
        steps: tuple[Any, ...],
        big: bool,
        cls: type | None,
        nested: Callable[[str, tuple[str, ...], int], type],
    ) -> None: ...
    def read(self, record: Buffer) -> Any:
        """The values of one whole struct in `record`; DecodeError if it is too short."""
    def json(self, values: Sequence[Any]) -> tuple[bytes, dict[str, Any]]:
        """(text, raw): the values as one JSON object, and by path the base64 of texts that are not UTF-8."""

class EventProgram(Program):
    struct: StructType | None
    forms: Forms | None
    tail_forms: tuple[str, ...]
    fixed_bytes: int
    size_bytes: int
    def __init__(
        self,
        event_plan: EventPlan,
        big: bool,
        cls: type,
        nested: Callable[[str, tuple[str, ...], int], type],
        struct: StructType | None = None,
        forms: Forms | None = None,
    ) -> None: ...

class Block:
    """Memory of one's own, to be had as a buffer that can be written to."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Decoder:
    """Each method reads the records `start` to `stop` of a batch; what fits no event type is counted in
    `undecodable`, each time that it is read."""

    undecodable: int
    programs: dict[tuple[str, str], EventProgram]
    columns: dict[str | None, tuple[Any, ...]]
    map_names: list[str]
    byteorder: str
    def __init__(
        self,
        maps: list[tuple[str, tuple[int, int] | None, dict[int | None, EventProgram]]],
        big: bool,
        lost: Callable[[int, int, str, int, str, str], Any],
    ) -> None: ...
    def events(self, data: Buffer, index: Buffer, start: int = 0, stop: int = -1) -> list[Any]:
        """The events, notices of loss in place of bad ones."""
    def json_lines(
        self,
        data: Buffer,
        index: Buffer,
        wall_offset_ns: int,
        start: int = 0,
        stop: int = -1,
    ) -> bytes:
        """The same as JSON lines, as render.JsonLines prints them; the offset leads from boot to wall time."""
    def rows(
        self,
        data: Buffer,
        index: Buffer,
        programs: tuple[EventProgram, ...],
        texts: tuple[tuple[int, int], ...] = (),
        start: int = 0,
        stop: int = -1,
        stamps: bool = True,
    ) -> tuple[Block, Block, list[list[bytes]]]:
        """(rows, stamps, tails): the records of one event type, each its whole struct, their index entries (nothing
        without `stamps`), and for each part of the tail its bytes."""

def text_column(data: Buffer, width: int) -> tuple[bytes, bytes]:
    """(ends, texts): texts of `width` bytes each as one in UTF-8, and where each begins and the last ends."""

def replaced(value: str) -> bytes:
    """`value` in UTF-8, with U+FFFD for each byte that is not UTF-8."""

def is_lossy(value: str) -> bool:
    """Whether `value` holds bytes that are not UTF-8, as surrogateescape keeps them."""

def base64(value: str) -> str:
    """The exact bytes behind `value`, as base64."""

def json(value: object) -> bytes:
    """One line of JSON in UTF-8, harmless to a terminal: see the module's source for the rules."""

def display(value: str) -> str:
    r"""`value` with what a terminal might act on spelled out: \xNN for a byte, \u{NNNN} for a character."""

def quote(argv: Iterable[str]) -> str:
    """Arguments as one line that a shell would split into the same arguments."""
