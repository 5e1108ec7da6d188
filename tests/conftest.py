"""What holds for every test: a skip is earned, nothing is left over, and a folder is a marker."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import pytest

from snoopkit.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

TESTS = Path(__file__).parent
REQUIRE_KERNEL = os.environ.get("SNOOPKIT_REQUIRE_KERNEL") == "1"

# Under nohup, or behind a shell's "&", these are ignored; a program can't be tested for them by who inherits that.
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def folder(item: pytest.Item | pytest.Collector) -> str:
    """The folder directly under tests/ that a test lives in."""
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""


def in_chroot() -> bool:
    """Whether this process's root is another one than the machine's: the kernel's paths then begin outside of ours."""
    own = os.stat("/")
    try:
        machine = os.stat("/proc/2/root/")  # kthreadd's: init's may be out of reach
    except OSError:
        return False  # an own pid namespace, or not root
    return (own.st_dev, own.st_ino) != (machine.st_dev, machine.st_ino)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if (name := folder(item)) in ("build", "kernel", "fuzz"):
            item.add_marker(name)
    out = [item for item in items if item.get_closest_marker("own_root")]
    if out and in_chroot():
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)


# --- a skip is earned -------------------------------------------------------------------------------------
# A test may raise UnsupportedError from wherever the toolkit met the limit: it is then skipped, with the feature and
# the kernel in the reason. With SNOOPKIT_REQUIRE_KERNEL=1 that is a failure, for there the feature must be present.
# A kernel test that skips in any other way fails.


def unsupported(error: UnsupportedError) -> NoReturn:
    reason = f"kernel {os.uname().release} lacks {error.feature}: {error}"
    if REQUIRE_KERNEL:
        pytest.fail(f"{reason} [SNOOPKIT_REQUIRE_KERNEL is set]", pytrace=False)
    pytest.skip(reason)


def earned(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except UnsupportedError as error:
        unsupported(error)
    except pytest.skip.Exception as skip:
        if folder(item) != "kernel":
            raise
        pytest.fail(f"a kernel test skips only by UnsupportedError, not by: {skip}", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from earned(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from earned(item))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "skipped" and folder(collector) == "kernel":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: a kernel test skips only by UnsupportedError, not as a module"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # A missing tool counts too: where everything is demanded, everything is installed.
    if REQUIRE_KERNEL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped [SNOOPKIT_REQUIRE_KERNEL is set]: {report.longrepr}"
    return report


# --- nothing is left over ---------------------------------------------------------------------------------


def live_handles() -> int:
    core = sys.modules.get("snoopkit._core")
    return core.live_handles() if core else 0


def kernel_descriptors() -> int:
    """Open descriptors of maps, programs, links, rings, timers and the like, whoever opened them."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("anon_inode:")
        except FileNotFoundError:
            pass  # the listing's own descriptor
    return count


def children() -> set[int]:
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids.update(map(int, (task / "children").read_text().split()))
        except FileNotFoundError:
            pass  # a thread that ended meanwhile, or a kernel that doesn't list children
    return pids


def command_of(pid: int) -> str:
    return (
        Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") or "a zombie"
    )


@pytest.fixture(autouse=True)
def nothing_left_over(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a live handle, a kernel descriptor or a child process behind, and ends the child."""
    counts: dict[str, Callable[[], int]] = {"live handles of snoopkit._core": live_handles}
    if folder(request.node) == "kernel":
        counts["open kernel descriptors"] = kernel_descriptors
    before = {name: count() for name, count in counts.items()}
    children_before = children()
    yield
    if any(count() > before[name] for name, count in counts.items()):
        gc.collect()  # what only a reference cycle keeps is not what this looks for
    left = [f"{count() - before[name]} {name}" for name, count in counts.items() if count() > before[name]]
    for pid in children() - children_before:
        command = command_of(pid)
        if "multiprocessing.resource_tracker" in command:
            continue
        left.append(f"child process {pid}: {command}")
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)
