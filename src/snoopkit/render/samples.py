"""Samples and histograms as rows of a table, JSON lines and CSV."""

from __future__ import annotations

from .._decode import display, json
from ..events import Record
from ..samples import Histogram, Sample
from .cells import Aligner, Column, cell, shown
from .histogram import bars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .formats import Formats
    from .screen import Screen

__all__ = ["SampleRows", "sample_data", "sample_json"]


class SampleRows:
    """TIME, MAP, KEY and VALUE of an entry; a histogram under a line with its time, map and key."""

    def __init__(self, maps: list[str], formats: Formats, screen: Screen | None = None) -> None:
        self._formats = formats
        width = max([len(name) for name in maps], default=0)
        self._aligner = Aligner(
            [Column("TIME", 12), Column("MAP", width), Column("KEY", 16), Column("VALUE")], screen
        )

    def header(self) -> bytes:
        return self._aligner.header()

    def row(self, time: str, found: Sample | Histogram) -> bytes:
        name = display(found._map) + (f"[{found._cpu}]" if found._cpu >= 0 else "")
        if isinstance(found, Sample):
            if found.is_empty:
                return self._aligner.line([time, name, "(empty)", ""])
            return self._aligner.line(
                [time, name, self._text(found, "key", found.key), self._text(found, "value", found.value)]
            )
        key = [] if found.key is None else [self._text(found, "key", found.key)]
        about = " ".join([time, name, *key, *[f"{k}={_text(v)}" for k, v in found.members.items()]])
        lines = [about, *[f"    {line}" for line in bars(found)]]
        return "".join([f"{line}\n" for line in lines]).encode("utf-8", "backslashreplace")

    def _text(self, found: Sample | Histogram, role: str, value: Any) -> str:
        format = self._formats.get(found._map, {}).get(role)
        if format is not None:
            return format(value)
        return _text(shown(value, self._formats))


def _text(value: Any) -> str:
    if isinstance(value, Record):
        return _text(value._asdict())
    if isinstance(value, dict):
        return " ".join([f"{name}={_text(item)}" for name, item in value.items()])
    if isinstance(value, tuple):
        value = list(value)
    return cell(value)


def sample_data(found: Sample | Histogram) -> dict[str, Any]:
    """What JSON has as `data`."""
    if isinstance(found, Sample):
        return {"key": _plain(found.key), "value": _plain(found.value)}
    data = {} if found.key is None else {"key": _plain(found.key)}
    data |= {name: _plain(value) for name, value in found.members.items()}
    return {
        **data,
        "scale": "linear" if found.is_linear else "log2",
        "unit": found.unit,
        "slots": found.slots,
    }


def sample_json(time: str, found: Sample | Histogram, kind: str | None = None) -> bytes:
    """One line, of type `kind` if given; nothing for a map that is empty."""
    if isinstance(found, Sample) and found.is_empty:
        return b""
    line: dict[str, Any] = {"type": kind or found._struct, "time": time, "map": found._map}
    if found._cpu >= 0:
        line["cpu"] = found._cpu
    return json({**line, "data": sample_data(found)}) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value._asdict()
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
