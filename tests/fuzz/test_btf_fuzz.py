"""Any bytes at all are either sound BTF or a PackageError, in bounded time."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time

import pytest
from hypothesis import given, settings, strategies as st

from btf_writer import BtfWriter
from snoopkit.btf import KIND_ENUM64, Btf
from snoopkit.cdecl import type_name
from snoopkit.cheader import header
from snoopkit.elf import Elf
from snoopkit.errors import PackageError

HEADER = 24

SOURCE = """
#define SEC(name) __attribute__((section(name), used))
#define TAG(text) __attribute__((btf_decl_tag(text)))
typedef unsigned int u32;
enum kind { ONE = 1, TWO = -2 };
enum wide { LARGE = 0x100000000ULL };
struct later;
struct header { u32 type; u32 size; };
struct event {
    struct header header; u32 pid TAG("a member"); u32 a : 3, b : 5; float f; double d; enum kind kind; _Bool flag;
    char comm[16]; union { int x; long y; }; struct { int z[3][2]; } inner; int (*call)(void *, const char *);
    struct event *next; struct later *later; char tail[];
} TAG("a struct");
typedef struct event event_t TAG("a typedef");
event_t *unused; enum wide *wide;
const volatile int limit = 5;
static volatile long counter;
extern int external SEC(".kconfig");
extern const void symbol SEC(".ksyms");
extern void function(int) SEC(".ksyms");
struct { int (*type)[4]; u32 *key; event_t **value; struct { int (*type)[2]; } *values[]; } map SEC(".maps") TAG("map");
static __attribute__((noinline)) int helper(struct header *h TAG("argument")) { return h->size + counter; }
SEC("raw_tp/x") int program(void *ctx) { function(limit); return helper(ctx) + external + (long)&symbol; }
"""


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The BTF of a real object with something of every kind."""
    folder = tmp_path_factory.mktemp("btf")
    (folder / "all.bpf.c").write_text(SOURCE)
    clang = shutil.which("clang") or shutil.which("clang-14") or "clang"
    command = [clang, "-target", "bpf", "-g", "-O2", "-w", "-c", "all.bpf.c", "-o", "all.o"]
    subprocess.run(command, cwd=folder, check=True)
    section = Elf.parse((folder / "all.o").read_bytes()).section(".BTF")
    assert section is not None
    assert len(Btf.parse(section.data)) > 40
    return bytes(section.data)


def use(data: bytes) -> bool:
    """Parse and, if it is sound, touch all of it. Anything but a PackageError is a failure."""
    begin = time.process_time()
    try:
        read = Btf.parse(data)
    except PackageError as error:
        assert str(error).startswith("BTF: ") and str(error).isprintable()
        sound = False
    else:
        sound = True
        for one in read.types:
            read.tags(one.id)
            read.find(one.name)
            for ask in (read.size_of, read.resolve, lambda type_id: type_name(read, type_id)):
                try:
                    ask(one.id)
                except PackageError:
                    pass  # functions have no size, and a type may be too long to write
        try:
            header(read)
        except PackageError:
            pass  # too deep, or too long
    assert time.process_time() - begin < 2
    return sound


def test_bytes_and_bits_of_a_real_object(blob: bytes) -> None:
    random_ = random.Random(1)
    sound = 0
    for _ in range(800):
        data = bytearray(blob)
        for _ in range(random_.choice((1, 1, 2, 5))):
            place = random_.randrange(len(data))
            data[place] = random_.choice((data[place] ^ 1 << random_.randrange(8), random_.randrange(256)))
        sound += use(bytes(data))
    assert 0 < sound < 800


def test_words_of_a_real_object(blob: bytes) -> None:
    """Type ids, offsets and sizes swapped for others that occur, or for extremes."""
    random_ = random.Random(2)
    types_size = struct.unpack_from("<I", blob, 12)[0]
    words = struct.unpack_from(f"<{types_size // 4}I", blob, HEADER)
    extremes = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, *range(2, 60))
    sound = 0
    for _ in range(1200):
        data = bytearray(blob)
        for _ in range(random_.choice((1, 1, 2, 4))):
            place = HEADER + 4 * random_.randrange(len(words))
            struct.pack_into(
                "<I", data, place, random_.choice((random_.choice(words), random_.choice(extremes)))
            )
        sound += use(bytes(data))
    assert 0 < sound < 1200


def test_every_length_of_a_real_object(blob: bytes) -> None:
    assert not any(use(blob[:size]) for size in range(0, len(blob), 7))


def test_the_header_of_a_real_object(blob: bytes) -> None:
    for place in range(0, HEADER, 4):
        for value in (0, 1, 4, 24, 28, len(blob), len(blob) - 24, 0x7FFFFFFF, 0xFFFFFFFC, 0xFFFFFFFF):
            data = bytearray(blob)
            struct.pack_into("<I", data, place, value)
            use(bytes(data))


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    use(data)
    use(b"\x9f\xeb\x01\x00" + struct.pack("<I", 24) + data)


word = st.one_of(st.integers(0, 30), st.sampled_from((0xFFFFFFFF, 0x80000000, 0x7FFFFFFF)))
record = st.tuples(
    st.integers(0, KIND_ENUM64 + 1),
    st.sampled_from(("", "a", "int", ".data", "b c")),
    word,
    st.lists(word, max_size=9),
    st.integers(0, 3),
    st.booleans(),
)


@settings(max_examples=300)
@given(st.lists(record, max_size=12), st.sampled_from(("little", "big")))
def test_any_records(records: list[tuple[int, str, int, list[int], int, bool]], byteorder: str) -> None:
    w = BtfWriter(byteorder)
    w.integer("int", 4)
    for kind, name, third, rest, parts, flag in records:
        w.raw(kind, name, third, *rest, parts=parts, flag=flag)
    use(w.blob())


def test_many_types_and_long_chains_are_bounded() -> None:
    wide = BtfWriter()
    wide.integer("int", 4)
    wide.records += [wide.words(0, 2 << 24, 1)] * 100_000
    deep = BtfWriter()
    deep.integer("int", 4)
    deep.records += [deep.words(0, 10 << 24, 3 + number) for number in range(100_000)]
    begin = time.process_time()
    assert len(Btf.parse(wide.blob())) == 100_002
    with pytest.raises(PackageError):
        Btf.parse(deep.blob())
    assert time.process_time() - begin < 10
