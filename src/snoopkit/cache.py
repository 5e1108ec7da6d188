"""A folder where things can be kept between runs, if it is ours alone.

What is kept there is compiled into programs that run in the kernel, or is one. So nobody but this user, and root, may
have had a hand in it: under sudo with the user's own HOME, the cache is that user's, not root's, and is left alone.
"""

from __future__ import annotations

import os
import stat

__all__ = ["home", "is_private", "prepare", "private_folder", "write"]


def home() -> str:
    """``$XDG_CACHE_HOME/snoopkit``, by default in the user's ``.cache``. It may not exist, or not be ours."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "snoopkit")


def is_private(path: str, *, shared: bool = False) -> bool:
    """Whether only this user can have put things here.

    With `shared` the folder may also be root's, or one like /tmp in which nobody can replace another's entry; and
    one that doesn't exist is as private as the folder it will be made in.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        return shared and parent != path and is_private(parent, shared=True)
    except OSError:
        return False
    owners = (os.geteuid(), 0) if shared else (os.geteuid(),)
    if status.st_uid not in owners or stat.S_ISLNK(status.st_mode):
        return False
    return not status.st_mode & 0o022 or (shared and bool(status.st_mode & stat.S_ISVTX))


def prepare(base: str, folder: str) -> bool:
    """Make `folder`, in `base` or `base` itself; whether both are there now and private."""
    if not is_private(os.path.dirname(os.path.abspath(base)), shared=True):
        return False
    try:
        for path in (base, folder):  # each by itself: the mode is only for the last part of a path
            os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError:
        return False
    return is_private(base) and is_private(folder)


def write(path: str, data: bytes) -> None:
    """Whole or not at all, also for others who write the same at the same time."""
    import tempfile

    folder, name = os.path.split(path)
    descriptor, made = tempfile.mkstemp(dir=folder, prefix=f".{name}-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise


def private_folder() -> str:
    """A folder that goes away with this process."""
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="snoopkit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
