"""Names of users and groups, as the name service has them, each asked for once."""

from __future__ import annotations

from functools import lru_cache
from grp import getgrgid
from pwd import getpwuid

from snoopkit.render import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["group", "user"]

_MAX_NAMES = 1_024


@lru_cache(_MAX_NAMES)
def user(uid: int) -> str:
    """The user's name; the number for one who has none."""
    return _name(lambda: getpwuid(uid).pw_name, uid)


@lru_cache(_MAX_NAMES)
def group(gid: int) -> str:
    """The group's name; the number for one that has none."""
    return _name(lambda: getgrgid(gid).gr_name, gid)


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return display(look_up())
    except (KeyError, OverflowError):  # (uid_t) -1 stands for none
        return str(number)
