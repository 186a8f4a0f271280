"""The header of a FastCGI record (FastCGI 1.0, section 3.3).

The compiled build takes the function of the ``.pxd``, which writes the 8 bytes: to call ``struct``
for them costs as much as all else of a record.
"""

from __future__ import annotations

import struct

# Version, type, request id, content length, padding length.
pack_header = struct.Struct(">BBHHBx").pack
