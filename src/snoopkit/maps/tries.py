"""LPM tries: prefixes as keys, networks where they can be."""

from __future__ import annotations

import sys

from .hashes import _Entries
from .values import Codec, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .. import _core


class TrieMap(_Entries):
    """An LPM trie: what is looked up gets the value of the longest prefix that covers it, as the kernel does it.

    Where the data have 4 or 16 bytes, keys are networks of `ipaddress`, and a text or an address of one may stand for
    them (an address being the network of it alone). Other keys are (length of the prefix in bits, bytes), and any key
    may be given so. Deleting, `insert` and `replace` mean exactly this prefix.
    """

    def __init__(self, raw: _core.Map, key: Codec, value: Codec) -> None:
        super().__init__(raw, key, value)
        self._lacks.add(
            "read"
        )  # the kernel's own way loses its place when the prefix where it stands is deleted


def trie_key(key: Codec) -> Codec:
    """A prefix's length in bits, as a number of 4 bytes, and data."""
    import ipaddress

    size = key.size_bytes - 4
    family: Any = {4: ipaddress.IPv4Network, 16: ipaddress.IPv6Network}.get(size)
    networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    addresses = (ipaddress.IPv4Address, ipaddress.IPv6Address)

    def decode(data: bytes) -> Any:
        length, rest = number_of(data[:4]), data[4:]
        return family((rest, length), strict=False) if family else (length, rest)

    def encode(value: Any) -> bytes:
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (bytes, bytearray)):
            length, data = value
            if len(data) != size:
                raise ValueError(f"a prefix of {len(data)} bytes where {size} are needed")
            if not 0 <= length <= 8 * size:
                raise ValueError(f"a prefix of {length} bits, of {8 * size}")
            return int(length).to_bytes(4, sys.byteorder) + bytes(data)
        if family and isinstance(value, (str, *addresses)):
            value = ipaddress.ip_network(value, strict=False)
        if family and isinstance(value, networks):
            if not isinstance(value, family):
                raise ValueError(f"{value} is no {family.__name__}")
            return int(value.prefixlen).to_bytes(4, sys.byteorder) + bytes(value.network_address.packed)
        if key.type is not None and isinstance(value, (tuple, dict)):
            return key.encode(value)
        wanted = f"an {family.__name__} or " if family else ""
        raise TypeError(f"{wanted}(length in bits, bytes) is needed, not {type(value).__name__}")

    return Codec(key.type, key.size_bytes, decode, encode)
