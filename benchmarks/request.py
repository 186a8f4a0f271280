"""What is asked: the request of a browser that comes back to a site, in every form needed."""

from __future__ import annotations

import struct

TARGET = "/articles/2024/a-page?page=2&sort=date"

# Twelve headers, Host included, which is why wrk is not left to add one of its own.
HEADERS = {
    "Host": "www.example.org",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://www.example.org/articles/2024/",
    "Cookie": "session=Zq3tV0n8hU2mXr6L; csrftoken=5f1d0c7be2a94f63; theme=dark; _ga=GA1.2.9071.8",
    "Connection": "keep-alive",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

# FastCGI 1.0, section 8.
_BEGIN_REQUEST, _END_REQUEST, _PARAMS, _STDIN = 1, 3, 4, 5
_KEPT_RESPONDER = struct.pack(">HB5x", 1, 1)
_HEADER = struct.Struct(">BBHHBx")


def http_request() -> bytes:
    """As the browser sends it."""
    lines = [f"GET {TARGET} HTTP/1.1", *(f"{name}: {value}" for name, value in HEADERS.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def fcgi_request() -> bytes:
    """As a web server sends it on a connection that is to be kept."""
    path, _, query = TARGET.partition("?")
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": TARGET,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "www.example.org",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
    }
    for name, value in HEADERS.items():
        variables["HTTP_" + name.upper().replace("-", "_")] = value
    pairs = b"".join(_pair(name, value) for name, value in variables.items())
    records = ((_BEGIN_REQUEST, _KEPT_RESPONDER), (_PARAMS, pairs), (_PARAMS, b""), (_STDIN, b""))
    return b"".join(_record(kind, content) for kind, content in records)


def ends_fcgi_response(data: bytes) -> bool:
    """Whether the record that ends a request is in ``data``."""
    at, kind = 0, 0
    while len(data) - at >= _HEADER.size and kind != _END_REQUEST:
        _, kind, _, size, padding = _HEADER.unpack_from(data, at)
        at += _HEADER.size + size + padding
    return kind == _END_REQUEST and at <= len(data)


def _pair(name: str, value: str) -> bytes:
    raw = name.encode("latin-1"), value.encode("latin-1")
    lengths = b"".join(
        bytes((len(each),)) if len(each) < 128 else struct.pack(">I", len(each) | 1 << 31)
        for each in raw
    )
    return lengths + b"".join(raw)


def _record(kind: int, content: bytes) -> bytes:
    padding = -len(content) % 8
    return _HEADER.pack(1, kind, 1, len(content), padding) + content + bytes(padding)
