"""The one place that wires a run: package → kernel → events."""

from __future__ import annotations

from _thread import RLock

from . import _core, attach as attaching, loader, targets, transport as transports
from .errors import KernelError
from .package import Package
from .reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType
    from typing import Any, Self

    from ._decode import EventProgram
    from .batch import Batch
    from .maps import Globals, Map
    from .options import Value

__all__ = ["Snoop", "run"]


def run(
    package: Package | str | PathLike[str],
    *,
    options: Mapping[str, Value] | None = None,
    attach: Mapping[str, str] | None = None,
    transport: str | None = None,
    buffer_bytes: int | None = None,
    enable: Iterable[str] = (),
    disable: Iterable[str] = (),
    interface: str | None = None,
    cgroup: str | PathLike[str] | None = None,
    pid: int | None = None,
    btf: str | PathLike[str] | None = None,
    text: str = "str",
    u8: str = "list",
) -> Snoop:
    """Load `package` into the kernel, attach its programs and return the running `Snoop`.

    `package` may be a path: of a package file, an object or a C source. `options` are the package's own, by name.
    `enable` names programs that their section switches off (`SEC("?…")`), `disable` others that shall not run: see
    `supports`.

    `attach` goes from a program's name to its target, where it isn't the one in the source. XDP and tc programs go to
    the network `interface`, programs of cgroups to the folder `cgroup`; uprobes, USDT probes and sampling see the
    process `pid` only. `btf` is a file with the running kernel's BTF, for a kernel that doesn't tell its own.

    `transport` is "perf" or "ring", None for what the source has: it can have the other one too if it says so
    (`SNOOPKIT_TRANSPORT` of `<snoopkit.bpf.h>`). `buffer_bytes` is the size of the events' ring per CPU, a power of two
    of pages; a second map of events gets a quarter, and a ring buffer what the rings of all CPUs would have together.

    Char arrays become `text`: "str", in which surrogateescape keeps what is not UTF-8, or "bytes", up to the first NUL.
    Arrays of unsigned char become `u8`: "list", of numbers, or "bytes", all of them.

    Raises OptionError, LoadError, AttachError, MapError or UnsupportedError; whatever was loaded by then is gone,
    and so it is when a signal's handler raises in the middle of it. ValueError for an argument that can't be.
    """
    return Snoop(
        package,
        options=options,
        attach=attach,
        transport=transport,
        buffer_bytes=buffer_bytes,
        enable=enable,
        disable=disable,
        interface=interface,
        cgroup=cgroup,
        pid=pid,
        btf=btf,
        text=text,
        u8=u8,
    )


class Snoop:
    """A running package, `package`. Close it, or use it as a context manager: then nothing stays loaded or attached.

    Nothing reads the rings but your own calls; there is no thread. Iterate (`for`, or `async for` in asyncio),
    `poll()`, or take whole `batches()`; what one of them leaves, the next one gives. All of them give events in the
    order of time, from all maps of the package.

    One thread, and one task, reads at a time: another one gets a RuntimeError. Any thread may `close()`, which ends
    the reading of the others. What is called after that raises ValueError, but for iterations, which end.

    A forked child can't use its parent's Snoop: RuntimeError. It may close its copy, or end, and the parent's goes on.
    """

    def __init__(
        self,
        package: Package | str | PathLike[str],
        *,
        options: Mapping[str, Value] | None = None,
        attach: Mapping[str, str] | None = None,
        transport: str | None = None,
        buffer_bytes: int | None = None,
        enable: Iterable[str] = (),
        disable: Iterable[str] = (),
        interface: str | None = None,
        cgroup: str | PathLike[str] | None = None,
        pid: int | None = None,
        btf: str | PathLike[str] | None = None,
        text: str = "str",
        u8: str = "list",
    ) -> None:
        self.package = package if isinstance(package, Package) else _package(package, btf)
        self._reading = Reading()
        self._closing = RLock()
        self._object: loader.Object | None = None
        self._transport: transports.Transport | None = None
        self._maps: Mapping[str, Map] | None = None
        self._globals: Globals | None = None
        self._links: attaching.Links | None = None
        self._forms = {"text": text, "u8": u8}
        try:
            where = targets.of_package(self.package, attach, interface=interface, cgroup=cgroup, pid=pid)
            self._object = self._load(
                where,
                buffer_bytes,
                transport,
                options=options,
                enable=list(enable),
                disable=list(disable),
                btf=btf,
            )
            self._transport = transports.open(self._object, self.package, buffer_bytes)
            self._links = attaching.attach_all(self._object, where)
            # Now that the kernel has no more to do: what happens meanwhile is in the rings.
            from . import events

            decoder, self._event_types = events.decoder(
                self.package, [*self.package.events, *self.package.iterators], **self._forms
            )
            self._reading.begin(self._transport, decoder)
        except BaseException:
            self.close()
            raise

    def _load(
        self, where: Mapping[str, targets.Target], buffer_bytes: int | None, transport: str | None, **how: Any
    ) -> loader.Object:
        """The object in the kernel. An extract of the kernel's types is quicker; what it isn't good enough for has
        another try, and only that is told of."""
        for by_extract in (True, False):
            object = self._object = loader.open(self.package, by_extract=by_extract, **how)
            attaching.prepare(object, where)
            transports.prepare(object, self.package, buffer_bytes, transport)
            try:
                object.load()
                break
            except KernelError:
                if not object.by_extract:
                    raise
                object.close()
        return object

    # Reading

    def poll(self, timeout: float | None = None) -> list[Any]:
        """The events that are there, waiting up to `timeout` seconds (None: for ever) for the first of them.

        [] on timeout; `poll(0)` never waits. Events and `Lost` notices come in the order of their time; what
        happened in the last few milliseconds may still be held back, so that it can be put in order.

        Raises ValueError if the Snoop is closed, RuntimeError if another thread or task reads it.
        """
        self._reading.fill(timeout)
        return self._reading.give_events()

    def __iter__(self) -> Iterator[Any]:
        """Events for ever, or until `close()`; `Lost` notices among them where events are missing."""
        reading = self._reading
        while not reading.is_closed:
            reading.fill(None)
            reading.decode_more()
            yield from reading.left

    async def __aiter__(self) -> AsyncIterator[Any]:
        """As iteration, in a running asyncio loop, which gets its turn before each lot of events.

        Nothing stays registered with the loop where this ends: by `close()`, by leaving the iteration, by
        cancellation. The Snoop itself stays open until it is closed.
        """
        reading = self._reading
        while not reading.is_closed:
            await reading.fill_async(None)
            reading.decode_more()
            for event in reading.left:
                yield event

    def batches(self, timeout: float | None = 0.1) -> Batches:
        """The records in the batches that they are drained in: for NumPy, Arrow, JSON, or anything done by the lot.

        An iterator for `for` and, in asyncio, for `async for`. Where no record comes for `timeout` seconds it gives
        an empty batch, so that a loop can look at other things; None waits for ever. It ends with `close()`.
        """
        return Batches(self, timeout)

    def finish(self) -> Iterator[list[Any]]:
        """The rest, in lots: what the rings hold now; then, all programs detached, what came in between.

        After the last lot `lost` is final; `maps` and `globals` stay readable until `close()`. Detaching can take a
        tenth of a second for each program: the first lot comes before. Errors are those of `poll`.
        """
        for _ in self._reading.finish(self._detach):
            yield self._reading.give_events()

    def finish_batches(self) -> Iterator[Batch]:
        """The rest, as `finish()`, in batches."""
        for _ in self._reading.finish(self._detach):
            yield self._reading.give_batch()

    def _detach(self) -> None:
        with self._closing:
            if self._links is not None:
                self._links.close()
                self._links = None

    def iterate(self, program: str) -> Batch:
        """What the BPF iterator `program` writes now, as the records that its source declares: a batch of its own.

        A record's time is that of the call, its `_map` the program's name, its `_cpu` -1. Raises ValueError for a
        program that is no such iterator or was not enabled, AttachError where the kernel refuses, DecodeError where a
        record's size can't be true.
        """
        from .iterators import index

        if program not in self.package.iterators:
            raise ValueError(f"the package doesn't say what program {program!r} would write")
        began_ns = _core.boottime_ns()
        data = self.read_iterator(program)
        number = len(self.package.events) + list(self.package.iterators).index(program)
        found = index(self.package, program, data, began_ns, number)
        return self._reading.batch(memoryview(data), memoryview(found), [])

    def read_iterator(self, program: str) -> bytes:
        """What the BPF iterator `program` writes now, from the first of what it goes over to the last: its text, where
        it uses BPF_SEQ_PRINTF. Errors are those of `iterate`.
        """
        from .iterators import read

        self._reading.reader()
        with self._closing:  # which another thread may want to do
            return read(self._loaded(), program)

    def fileno(self) -> int:
        """A descriptor that becomes readable when it is time to call `poll(0)`, which may still return [].

        That is when a ring is a quarter full, and else 20 ms after the last reading (2 for the first tenth of a
        second), or sooner where that held back all it found. It stays the same until `close()`.
        """
        return self._reading.reader().fileno()

    # State

    @property
    def complete_until_ns(self) -> int:
        """Events that were not given yet are of this time (CLOCK_BOOTTIME) or later; 0 where some wait to be given.

        For whoever puts them in order with something else. It stays readable after the end.
        """
        if self._transport is None or self._reading.has_begun():
            return 0
        return self._transport.complete_until_ns

    @property
    def lost(self) -> int:
        """How many events are known to be missing so far, whatever the cause. It stays readable after the end."""
        return sum(self.losses.values())

    @property
    def losses(self) -> dict[str, int]:
        """The same by cause: `buffer_full`, `undecodable`. A cause that has not occurred is absent."""
        counts = dict(self._transport.losses) if self._transport is not None else {}
        if undecodable := self._reading.undecodable:
            counts["undecodable"] = counts.get("undecodable", 0) + undecodable
        return counts

    @property
    def maps(self) -> Mapping[str, Map]:
        """The package's maps by name, live: mappings, queues and sets of typed keys and values.

        `snoop.maps["name"][key]`; what a map can do depends on its type, see the documentation. ValueError after
        the end, MapError where the kernel refuses.
        """
        loaded = self._loaded()
        if self._maps is None:
            from .maps import typed_maps

            self._maps = typed_maps(loaded, self.package, **self._forms)
        return self._maps

    @property
    def globals(self) -> Globals:
        """The programs' global variables, live: `snoop.globals.name` reads; in `.data` and `.bss` it can be set.

        Numbers, text, lists, and structs as records. AttributeError for a name that the programs don't have, TypeError
        for setting a constant, ValueError after the end.
        """
        loaded = self._loaded()
        if self._globals is None:
            from .maps import Globals

            self._globals = Globals(loaded, self.package, **self._forms)
        return self._globals

    def _loaded(self) -> loader.Object:
        if self._object is None or self._reading.is_closed:
            raise ValueError("this Snoop is closed")
        return self._object

    @property
    def event_types(self) -> Mapping[tuple[str, str], EventProgram]:
        """The compiled event types, by the map they arrive through and their struct's name."""
        return self._event_types

    @property
    def loss_unknown(self) -> tuple[str, ...]:
        """Maps of which more may be lost than is known: ring buffers whose program doesn't count its outputs."""
        return self._transport.loss_unknown if self._transport is not None else ()

    @property
    def warnings(self) -> list[str]:
        """What the user should know about this run: smaller rings than asked for, say."""
        return list(self._transport.warnings) if self._transport is not None else []

    # The end

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._reading.is_closed

    def close(self) -> None:
        """Detach, free the rings and unload; idempotent, from any thread. What was not read is gone: see `finish()`.

        Who waits for events in another thread or task is woken, and gets none. Detaching can take a tenth of a second.
        """
        try:
            self._close()
        except BaseException:
            self._close()  # Ctrl-C fell into it: it goes on from there
            raise

    def _close(self) -> None:
        self._reading.close()
        with self._closing:  # another thread may be detaching
            try:
                if self._object is not None:
                    self._object.close()  # its links first
            finally:
                if self._transport is not None:
                    self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batches:
    """Batches as they are drained, for `for` and `async for`, until the Snoop is closed: see `Snoop.batches`."""

    def __init__(self, snoop: Snoop, timeout: float | None) -> None:
        self._snoop = snoop
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        snoop = self._snoop
        if snoop.closed:
            raise StopIteration
        snoop._reading.fill(self._timeout)
        if snoop.closed:  # by another thread, meanwhile
            raise StopIteration
        return snoop._reading.give_batch()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        snoop = self._snoop
        if snoop.closed:
            raise StopAsyncIteration
        await snoop._reading.fill_async(self._timeout)
        if snoop.closed:
            raise StopAsyncIteration
        return snoop._reading.give_batch()


def _package(path: str | PathLike[str], btf: str | PathLike[str] | None) -> Package:
    from . import sources

    return sources.read(path, btf=btf)
