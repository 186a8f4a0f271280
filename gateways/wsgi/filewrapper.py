"""``wsgi.file_wrapper``: a file-like object as a response body (PEP 3333)."""

from __future__ import annotations

from gateways.errors import ApplicationError

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any


class FileWrapper:
    """Iterates ``filelike`` from where it stands, in blocks; has ``close`` if the file has."""

    def __init__(self, filelike: Any, blksize: int = 65536) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        if isinstance(data, str):
            raise ApplicationError(
                "the file given to wsgi.file_wrapper was opened in text mode: open it with 'rb'"
            )
        return data  # type: ignore[no-any-return]
