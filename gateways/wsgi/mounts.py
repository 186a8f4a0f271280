"""Several applications in one server, each below a prefix of its own (``--mount``).

The table is itself a WSGI application, made when the others are loaded: nothing else knows of it,
and a server of one application has none. Prefixes count from where the whole is mounted, which is
``--script-name`` or what the web server says, as the environ has it by then.
"""

from __future__ import annotations

from gateways.logs import get_logger
from gateways.wsgi.pages import error_page

TYPE_CHECKING = False  # typing's own would import typing
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateways.wsgi.environ import Environ
    from gateways.wsgi.runner import Application, StartResponse

logger = get_logger("gateways.environ")


def describe(reference: str, mounts: Sequence[str]) -> str:
    """All that is served, in one line; ``reference`` is empty where nothing is at the root."""
    return ", ".join([*([reference] if reference else []), *mounts])


class Mounts:
    """Hands each request to the application with the longest prefix of its path.

    ``applications`` are by prefix: "" is the root, any other begins with a slash and does not end
    in one, and is decoded text. Where none fits, the answer is 404.
    """

    def __init__(self, applications: Mapping[str, Application]) -> None:
        prefixes = sorted(filter(None, applications), key=len, reverse=True)
        self._mounted = [(_as_on_the_wire(each), applications[each]) for each in prefixes]
        self._otherwise = applications.get("", _answer_not_found)
        self._hinted = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        for prefix, application in self._mounted:
            if _is_below(path, prefix):
                script_name = environ["SCRIPT_NAME"]
                environ.setdefault("gateways.original_script_name", script_name)
                environ.setdefault("gateways.original_path_info", path)
                environ["SCRIPT_NAME"] = script_name + prefix
                environ["PATH_INFO"] = path[len(prefix) :]
                return application(environ, start_response)
        if environ["SCRIPT_NAME"] and not self._hinted:
            self._hint(environ["SCRIPT_NAME"], path)
        return self._otherwise(environ, start_response)

    def _hint(self, script_name: str, path: str) -> None:
        """Say once what is wrong where the web server has taken the very prefix off the path."""
        whole = script_name + path
        if any(_is_below(whole, prefix) for prefix, _ in self._mounted):
            self._hinted = True
            logger.warning(
                "the path %s was not found by --mount, because the web server says that all of "
                "this is mounted at %s; if it is not, give --script-name ''",
                whole,
                script_name,
            )


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")


def _as_on_the_wire(prefix: str) -> str:
    """As PEP 3333 has text in the environ: the bytes of its UTF-8, each as a character."""
    return prefix.encode("utf-8", "surrogateescape").decode("latin-1")


def _answer_not_found(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    status, headers, body = error_page(404)
    start_response(status, headers)
    return [body]
