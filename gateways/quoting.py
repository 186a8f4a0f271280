"""``%XX`` in URLs; to import urllib.parse would cost every process that serves more than this."""

from __future__ import annotations


def unquote(text: str) -> str:
    """Decode ``%XX``, to latin-1; what is no such pair stays as it is."""
    first, *rest = text.split("%")
    decoded = [first]
    for part in rest:
        pair = part[:2]
        # int() takes blanks, signs and underscores too.
        if len(pair) == 2 and pair.isalnum() and pair.isascii():
            try:
                decoded.append(chr(int(pair, 16)) + part[2:])
                continue
            except ValueError:
                pass
        decoded.append("%" + part)
    return "".join(decoded)
