"""What the codecs do with bytes many times in each request.

The compiled build takes the functions of the ``.pxd``: to call ``struct`` for the 8 bytes of a
header, or a method of ``bytes`` for a comparison, costs there as much as all else of a record.
"""

from __future__ import annotations

import struct

# The header of a FastCGI record (FastCGI 1.0, section 3.3): version, type, request id, content
# length, padding length.
pack_header = struct.Struct(">BBHHBx").pack

is_at = bytes.startswith
"""``is_at(data, expected, at)``: whether ``expected`` is found there, not before the beginning."""


def pack_pieces(
    record_type: int, request_id: int, pieces: list[bytes], last: bytes, behind: bytes, most: int
) -> bytes | None:
    """One record of all pieces and the ``last`` one, and what is sent ``behind`` it.

    It is padded to a multiple of 8. None where its content is more than ``most`` bytes.
    """
    length = sum(map(len, pieces)) + len(last)
    if length > most:
        return None
    padding = -length & 7
    header = pack_header(1, record_type, request_id, length, padding)
    return b"".join([header, *pieces, last, bytes(padding), behind])
