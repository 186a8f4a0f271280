"""What flup accepted of applications beyond PEP 3333, as scripts of Python 2 times are full of it.

Bodies of `str`, which are latin-1, and heads of `bytes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gateways.wsgi.environ import Environ
from gateways.wsgi.filewrapper import FileWrapper
from gateways.wsgi.runner import Application, StartResponse


class Lenient:
    """A WSGI application of one that flup could run."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: Any, headers: Any, exc_info: Any = None) -> Callable[[bytes | str], None]:
            if type(headers) is list and any(_has_bytes(header) for header in headers):
                headers = [(_text(name), _text(value)) for name, value in headers]
            write = start_response(_text(status), headers, exc_info)
            return lambda data: write(_bytes(data))

        returned: Any = self.application(environ, start)
        if isinstance(returned, str):
            return [returned.encode("latin-1")]
        if isinstance(returned, (list, tuple)):
            if any(isinstance(chunk, str) for chunk in returned):
                return [_bytes(chunk) for chunk in returned]
            return returned
        if isinstance(returned, (bytes, dict, FileWrapper)) or not hasattr(returned, "__iter__"):
            return returned  # type: ignore[no-any-return]  # the server says what is wrong with it
        return _Encoded(returned)


class _Encoded:
    """A response body whose chunks may be text."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = chunks
        close = getattr(chunks, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return map(_bytes, self._chunks)


def _has_bytes(header: Any) -> bool:
    return isinstance(header, tuple) and any(isinstance(part, bytes) for part in header)


def _bytes(chunk: Any) -> Any:
    return chunk.encode("latin-1") if isinstance(chunk, str) else chunk


def _text(part: Any) -> Any:
    return part.decode("latin-1") if isinstance(part, bytes) else part
