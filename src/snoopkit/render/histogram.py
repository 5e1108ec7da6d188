"""A histogram as lines of text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..samples import Histogram

__all__ = ["bars", "linear_bars", "log2_bars"]

_EIGHTHS = " ▏▎▍▌▋▊▉"
_WIDTH = 40


def bars(histogram: Histogram, width: int = _WIDTH) -> list[str]:
    """A line for each slot from the first to the last that counted something: its values, its count, a bar.

    A bar's length is its count's part of the largest, to an eighth of a character and never more; what is not zero has
    at least that.
    """
    used = [slot for slot, count in enumerate(histogram.slots) if count]
    if not used:
        return []
    slots = range(used[0], used[-1] + 1)
    names = [_name(histogram, slot) for slot in slots]
    counts = [str(histogram.slots[slot]) for slot in slots]
    name_width = max(map(len, [*names, histogram.unit]))
    count_width = max(map(len, [*counts, "count"]))
    most = max(histogram.slots)
    lines = [f"{histogram.unit:>{name_width}}  {'count':>{count_width}}"]
    for slot, name, count in zip(slots, names, counts, strict=True):
        lines.append(
            f"{name:>{name_width}}  {count:>{count_width}}  {_bar(histogram.slots[slot], most, width)}"
        )
    return [line.rstrip() for line in lines]


def _name(histogram: Histogram, slot: int) -> str:
    low, high = histogram.bounds(slot)
    return str(low) if low == high else f"[{_short(low)}, {_short(high + 1)})"


def _short(number: int) -> str:
    """A power of two in the units that people know it by; K is 1024."""
    for power, letter in ((60, "E"), (50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if number >= 1 << power:
            return f"{number >> power}{letter}"
    return str(number)


def _bar(count: int, most: int, width: int) -> str:
    eighths = count * width * 8 // most
    if count:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def log2_bars(slots: Sequence[int], unit: str) -> list[str]:
    """As eunomia-bpf's runner draws it, and libbpf-tools before it; nothing where all slots are zero."""
    last = max((slot for slot, count in enumerate(slots) if count), default=-1)
    if last < 0:
        return []
    is_wide = last > 32
    number, width = (20, 20) if is_wide else (10, 40)
    lines = [f"{'':{15 if is_wide else 5}}{unit:<{29 if is_wide else 19}} : count    distribution"]
    for slot in range(last + 1):
        low, high = (1 << slot if slot else 0), (1 << (slot + 1)) - 1
        lines.append(f"{low:>{number}} -> {high:<{number}} : {_stars(slots, slot, width)}")
    return lines


def linear_bars(slots: Sequence[int], unit: str) -> list[str]:
    """The same for slots that each count one value, as libbpf-tools draws that."""
    used = [slot for slot, count in enumerate(slots) if count]
    if not used:
        return []
    lines = [f"     {unit:<13} : count     distribution"]
    for slot in range(used[0], used[-1] + 1):
        lines.append(f"        {slot:<10} : {_stars(slots, slot, _WIDTH)}")
    return lines


def _stars(slots: Sequence[int], slot: int, width: int) -> str:
    stars = "*" * (slots[slot] * width // max(slots))
    return f"{slots[slot]:<8} |{stars:<{width}}|"
