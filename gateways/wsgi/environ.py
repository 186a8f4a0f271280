"""THE environ builder: CGI variables to a WSGI environ, for every protocol and web server.

The variables arrive as latin-1 `str` with forbidden names gone and repeated ones combined (that
is the codecs' part). Here they get their meaning: where the application is mounted, what is
missing and what lies, and last ``wsgi.*``, so that nothing from the wire can stand in for it. The
dict that came from the wire becomes the environ itself; nothing is copied.
"""

from __future__ import annotations

import os
import stat

from gateways.errors import ProtocolError
from gateways.logs import get_logger
from gateways.quoting import unquote
from gateways.wsgi.body import EMPTY_BODY
from gateways.wsgi.filewrapper import FileWrapper

TYPE_CHECKING = False  # typing's own would import typing, which CGI scripts must not pay for
if TYPE_CHECKING:
    from typing import Any, TypeAlias

logger = get_logger("gateways.environ")

Environ: TypeAlias = "dict[str, Any]"

_TRUE = frozenset({"on", "1", "yes", "true"})

# Copies of framing that the codec has dealt with, and the header behind CVE-2016-5385 (httpoxy).
_DROPPED = frozenset(
    {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_PROXY"}
)
# Web servers send these empty where they mean "there is none", which WSGI says by absence.
_ABSENT_IF_EMPTY = {"CONTENT_TYPE", "HTTPS", "AUTH_TYPE", "REMOTE_USER", "REMOTE_IDENT"}
_SUSPECTS = tuple(_DROPPED | _ABSENT_IF_EMPTY)

# What ``build`` does goes by the values of these, and by whether the others are there at all.
_BY_VALUE = frozenset(
    {
        *_SUSPECTS,
        "HTTP_X_FORWARDED_PROTO",
        "REQUEST_SCHEME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "UWSGI_SCHEME",
    }
)
# Of the paths, which are looked at in each request.
_PATHS = ("SCRIPT_NAME", "PATH_INFO")

_ports: set[str] = set()
_MAX_PORTS = 64


class EnvironBuilder:
    """Builds the environ of each request of one server process.

    ``script_name`` is where the application is mounted: "" or "/prefix", or None to go by what
    the web server says.
    """

    def __init__(
        self,
        *,
        script_name: str | None = None,
        trust_remote_user: bool = True,
        multithread: bool = True,
        multiprocess: bool = False,
        run_once: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._script_name = script_name
        self._trust_remote_user = trust_remote_user
        self._assumption_logged = False
        self._doubling_logged = False
        # A process for each request would say it each time, and whoever asks can have it said.
        self._https_logged = run_once
        # An object of our own, by which prepared variables are known.
        self._version = tuple([1, 0])  # noqa: C409  # a literal is the same object each time
        self._base: Environ = {
            "wsgi.version": self._version,
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": run_once,
            "wsgi.file_wrapper": FileWrapper,
            # Werkzeug reads a body of unknown length only with this; it is true of all our bodies.
            "wsgi.input_terminated": True,
            **(extra or {}),
        }

    def prepare(self, variables: dict[str, str]) -> frozenset[str] | None:
        """Do the part of ``build`` that is the same for all requests with these variables.

        That is, with these names and, of those that are returned, these values. None where there
        is no such part; what is in ``variables`` then has no meaning.
        """
        if "QUERY_STRING" not in variables or "REDIRECT_HTTP_AUTHORIZATION" in variables:
            return None  # they stand for, or are taken from, what differs from request to request
        if not self._base.keys().isdisjoint((*variables, *_PATHS)):
            return None  # an application that has its own way
        named = variables.get("SERVER_NAME")
        self._complete(variables)
        if variables["SERVER_NAME"] != named:
            return _BY_VALUE | {"HTTP_HOST", "SERVER_ADDR"}
        return _BY_VALUE

    def build(self, variables: dict[str, str], body: object, errors: object) -> Environ:
        """Complete ``variables`` to the environ; ``body`` is None for a request without one.

        They may have been prepared. Raises ProtocolError: 400 without a method, 404 for a path
        outside ``script_name``.
        """
        environ: Environ = variables
        if not variables.get("REQUEST_METHOD"):
            raise ProtocolError("the web server sent no REQUEST_METHOD")
        if self._script_name is None:
            self._detect_paths(variables)
        else:
            self._mounted_paths(variables, self._script_name)
        if environ.get("wsgi.version") is not self._version:
            self._complete(variables)
        environ["wsgi.input"] = EMPTY_BODY if body is None else body
        environ["wsgi.errors"] = errors
        return environ

    def _complete(self, variables: dict[str, str]) -> None:
        """All but the paths, and what is this request's alone."""
        for name in _SUSPECTS:
            if name in variables and (not variables[name] or name in _DROPPED):
                del variables[name]
        if not self._trust_remote_user:
            variables.pop("REMOTE_USER", None)
            variables.pop("AUTH_TYPE", None)
        https = (
            ("HTTPS" in variables and variables["HTTPS"].lower() in _TRUE)
            or variables.get("REQUEST_SCHEME") == "https"
            or variables.get("UWSGI_SCHEME") == "https"
        )
        if not https and "HTTP_X_FORWARDED_PROTO" in variables:
            self._note_lost_https(variables["HTTP_X_FORWARDED_PROTO"])
        self._fill_in(variables, https)
        environ: Environ = variables
        environ.update(self._base)
        environ["wsgi.url_scheme"] = "https" if https else "http"
        # They have their place in what is copied for each request.
        environ["wsgi.input"] = environ["wsgi.errors"] = None

    def _fill_in(self, variables: dict[str, str], https: bool) -> None:
        """What PEP 3333 requires, or frameworks rely on, and some web server leaves out."""
        if "QUERY_STRING" not in variables:
            variables["QUERY_STRING"] = variables.get("REQUEST_URI", "").partition("?")[2]
        server_name = variables.get("SERVER_NAME", "")
        if not server_name or server_name == "_" or ":" in server_name:
            variables["SERVER_NAME"] = _server_name(server_name, variables)
        port = variables.get("SERVER_PORT", "")
        if port not in _ports and not _is_port(port):
            variables["SERVER_PORT"] = "443" if https else "80"
        if not variables.get("SERVER_PROTOCOL"):
            variables["SERVER_PROTOCOL"] = "HTTP/1.0"
        if "GATEWAY_INTERFACE" not in variables:
            variables["GATEWAY_INTERFACE"] = "CGI/1.1"
        if "REMOTE_ADDR" not in variables:
            variables["REMOTE_ADDR"] = ""
        if "REDIRECT_HTTP_AUTHORIZATION" in variables:
            # Apache renames it when a rewrite rule, the usual way to get it at all, redirects.
            variables.setdefault("HTTP_AUTHORIZATION", variables["REDIRECT_HTTP_AUTHORIZATION"])

    def _detect_paths(self, variables: dict[str, str]) -> None:
        """SCRIPT_NAME and PATH_INFO as the web server means them."""
        script_name = variables.get("SCRIPT_NAME")
        path_info = variables.get("PATH_INFO", "")
        split = "gateways.original_path_info" in variables  # the codec has done so (modifier 30)
        if script_name and not path_info and not split and not _splits_paths(variables):
            # nginx's fastcgi_params, Apache's ProxyPass and HAProxy put the whole path there.
            if not self._assumption_logged:
                self._assumption_logged = True
                logger.info(
                    "SCRIPT_NAME holds the whole path (%s) and there is no PATH_INFO: assuming "
                    "that the application is mounted at the root. If it is not, set "
                    "--script-name /prefix.",
                    script_name,
                )
            _set_paths(variables, "", script_name)
        elif not script_name and not path_info:
            path = variables.get("DOCUMENT_URI") or _request_path(variables)
            _set_paths(variables, "", path or "/")
        else:
            if script_name and not split and path_info.startswith(script_name):
                self._note_doubled_prefix(variables, script_name, path_info)
            _set_paths(variables, script_name or "", path_info)

    def _note_doubled_prefix(
        self, variables: dict[str, str], script_name: str, path_info: str
    ) -> None:
        """Say once that the web server names a prefix and has left it in the path."""
        is_left = _below(path_info, script_name) and path_info == _request_path(variables)
        if is_left and not self._doubling_logged:
            self._doubling_logged = True
            logger.warning(
                "SCRIPT_NAME is %s, and PATH_INFO (%s) still begins with it, so the application "
                "sees the prefix twice. Set --script-name %s, which takes it off the path, or "
                "--script-name '' if the application's own routes begin with it.",
                script_name,
                path_info,
                script_name,
            )

    def _note_lost_https(self, forwarded: str) -> None:
        """Say once that a proxy speaks of https, and that it was not believed."""
        if not self._https_logged and forwarded.rpartition(",")[2].strip().lower() == "https":
            self._https_logged = True
            logger.info(
                "X-Forwarded-Proto says https, but is not believed, so the application makes "
                "http:// addresses. If your proxy has set it: over HTTP name the proxy with "
                "--forwarded-allow-ips; over the other protocols have the web server send "
                "HTTPS=on (fastcgi_param HTTPS on)."
            )

    def _mounted_paths(self, variables: dict[str, str], prefix: str) -> None:
        """SCRIPT_NAME as configured, PATH_INFO as what is left of the whole path."""
        script_name = variables.get("SCRIPT_NAME", "")
        path_info = variables.get("PATH_INFO", "")
        requested = _request_path(variables)
        path = script_name.rstrip("/") + path_info if path_info else script_name
        whole = path_info and (
            path_info in (variables.get("DOCUMENT_URI"), requested)
            or (script_name and path_info == _resolved(requested))
        )
        if whole or not path:
            # PATH_INFO is the whole path: a rewrite rule that hides the script, or modifier 30.
            path = path_info or variables.get("DOCUMENT_URI") or requested or "/"
        if path[0] != "/":
            path = requested or "/"  # an absolute-form or asterisk-form target
        if _below(path, prefix):
            _set_paths(variables, prefix, path[len(prefix) :])
        elif _below(requested, prefix) and path == (requested[len(prefix) :] or "/"):
            _set_paths(variables, prefix, path)  # the web server has removed the prefix
        else:
            raise ProtocolError(
                f"the path {path!r} is not below --script-name {prefix}, where the application is "
                "said to be: name the prefix at which the web server has it, '' for the root",
                404,
            )


def _is_port(port: str) -> bool:
    """Whether it is a number; one that is, is remembered: a site has few of them."""
    if not (port.isdigit() and port.isascii()):
        return False
    if len(_ports) < _MAX_PORTS and len(port) <= 5:
        _ports.add(port)
    return True


def _set_paths(variables: dict[str, str], script_name: str, path_info: str) -> None:
    """Set both so that PEP 3333 holds: "" or a leading slash, and no trailing one before a path."""
    if script_name:
        if script_name[-1] == "/":
            script_name = script_name.rstrip("/")
        if script_name and script_name[0] != "/":
            script_name = "/" + script_name
    if path_info and path_info[0] != "/":
        # An absolute-form or asterisk-form target: only the request line tells the path.
        path_info = _request_path(variables)
    _set(variables, "SCRIPT_NAME", "gateways.original_script_name", script_name)
    _set(variables, "PATH_INFO", "gateways.original_path_info", path_info)


def _set(variables: dict[str, str], name: str, note: str, value: str) -> None:
    """Set a path; what the web server said of it is kept as ``note``, where it was another one."""
    previous = variables.get(name)
    if previous != value:
        if previous is not None:
            variables[note] = previous
        variables[name] = value


def _request_path(variables: dict[str, str]) -> str:
    """The decoded path of REQUEST_URI, "" where there is none (or the asterisk)."""
    uri = variables.get("REQUEST_URI", "").partition("?")[0]
    if not uri.startswith("/"):
        _, separator, rest = uri.partition("://")
        if not separator:
            return ""
        uri = "/" + rest.partition("/")[2]
    if "%" in uri:
        return unquote(uri)
    return uri


def _resolved(path: str) -> str:
    """A path as web servers resolve it: no empty, ``.`` and ``..`` segments (RFC 3986, 5.2.4)."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    is_folder = path.endswith(("/", "/.", "/..")) and segments
    return "/" + "/".join(segments) + ("/" if is_folder else "")


def _below(path: str, prefix: str) -> bool:
    """Whether ``path`` is ``prefix`` or continues it on a segment boundary."""
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


def _splits_paths(variables: dict[str, str]) -> bool:
    """Whether a SCRIPT_NAME without PATH_INFO really is the script's name.

    It is where the script exists (mod_fcgid, CGI), and with lighttpd, which always splits.
    """
    software = variables.get("SERVER_SOFTWARE", "")
    if software.startswith("lighttpd"):
        return True
    script = variables.get("SCRIPT_FILENAME", "")
    if not script or script[0] != "/":
        return False
    try:
        return stat.S_ISREG(os.stat(script.encode("latin-1")).st_mode)
    except (OSError, ValueError):
        return False


def _server_name(given: str, variables: dict[str, str]) -> str:
    """A host without a port; nginx says "" or "_" for "any name", HAProxy adds the port."""
    name = variables.get("HTTP_HOST", "") if not given or given == "_" else given
    if ":" in name:
        if name[0] == "[":
            name = name.partition("]")[0] + "]"
        elif name.count(":") == 1:
            name = name.partition(":")[0]
    return name or variables.get("SERVER_ADDR") or "localhost"
