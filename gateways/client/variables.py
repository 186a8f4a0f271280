"""The CGI variables that a web server makes of a request (RFC 3875, section 4.1)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from gateways.client.message import Request
from gateways.errors import ConfigError
from gateways.version import __version__

SOFTWARE = f"gateways/{__version__}"
CLIENT = ("127.0.0.1", "0")
# "Proxy" would be taken for the environment variable HTTP_PROXY (httpoxy).
_NOT_COPIED = {"content-type", "content-length", "transfer-encoding", "proxy", "connection"}


def build_variables(request: Request, length: int | None) -> dict[str, str]:
    """The variables of a request, latin-1 `str`; ``length`` is the size of its body, if known.

    As web servers have it, a header whose name holds "_" is dropped: it could not be told from
    one with "-". ``params`` come last and override everything.
    """
    if request.variables is not None:
        made = {"CONTENT_LENGTH": str(length)} if length else {}
        return {**made, **request.variables, **request.params}
    script_name, path_info = split_path(request.target, request.script_name)
    name, port = _server(request.header("Host") or "localhost")
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": SOFTWARE,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "REMOTE_ADDR": CLIENT[0],
        "REMOTE_PORT": CLIENT[1],
        "REQUEST_SCHEME": "http",
        "REQUEST_METHOD": request.method,
        "REQUEST_URI": request.target,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": request.target.partition("?")[2],
    }
    if length is None or length > 0 or request.method in ("POST", "PUT", "PATCH"):
        variables["CONTENT_LENGTH"] = "" if length is None else str(length)
    for header in ("Content-Type", "Content-Length"):
        value = request.header(header)
        if value is not None:
            variables[header.upper().replace("-", "_")] = value
    if request.header("Host") is None:
        variables["HTTP_HOST"] = "localhost"
    for header, value in request.headers:
        if "_" in header or header.lower() in _NOT_COPIED:
            continue
        key = "HTTP_" + header.upper().replace("-", "_")
        if key in variables:
            joint = "; " if key == "HTTP_COOKIE" else ", "
            value = variables[key] + joint + value
        variables[key] = value
    if request.role == "authorizer":  # FastCGI 1.0, section 6.3
        for name in ("CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"):
            variables.pop(name, None)
    return {**variables, **request.params}


def split_path(target: str, script_name: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO of a request-target, percent-decoded.

    Raises ConfigError unless ``script_name`` is a prefix of the path that ends with a segment.
    """
    path = _decoded(target.partition("?")[0])
    prefix = _decoded(script_name.rstrip("/"))
    if prefix and not (path + "/").startswith(prefix + "/"):
        raise ConfigError(f"the path {path!r} does not lie below the script name {prefix!r}")
    return prefix, path[len(prefix) :]


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("latin-1")


def _server(host: str) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT of a Host header."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name, port
    return host, "80"
