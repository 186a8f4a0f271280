"""What is wrong with the value of an option, and the remedy: the one place that says so.

Python, the command line, the environment and the configuration file all ask here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

ROLES = ("responder", "authorizer", "filter")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_SEVERAL = frozenset(
    {"bind", "allow", "checks", "env", "env_files", "forwarded_allow_ips", "mounts"}
    | {"pythonpath", "reload_on_touch", "roles"}
)
_CHOICES = {"log_level": LOG_LEVELS, "sigusr1": ("auto", "reopen", "stop")}
# gunicorn's other names for it, and what to give instead.
_WORKER_CLASSES = {
    "sync": "that is one thread: give --threads 1",
    "eventlet": "it is deprecated by its own authors; give gevent, or gthread (threads)",
    "tornado": "give gthread: an idle connection takes no thread",
    "gevent_wsgi": "give gevent",
    "gevent_pywsgi": "give gevent",
    "ggevent": "give gevent",
}
HOOKS = ("on_start", "post_fork", "on_ready", "on_exit", "on_reload")
# A pattern, and what to write instead of what does not match it.
_FORMS = {
    "workers": (r"[0-9]{1,4}|auto|[0-9]{1,4}:[1-9][0-9]{0,3}", "give 4, auto, 2:8 or 0:4"),
    "protocol": (
        r"fcgi|uwsgi|scgi|http|auto(\[.*\])?",
        "give fcgi, uwsgi, scgi, http, auto or auto[fcgi,http]",
    ),
    "umask": (r"(0o?)?[0-7]{0,3}", "give three octal digits, as 027"),
}
# Where zero would mean a server that serves nothing.
_AT_LEAST_ONE = frozenset({"threads", "max_connections", "max_variables_bytes"})


def find_problem(name: str, value: Any) -> str | None:
    """What is wrong with ``value`` for the field ``name``, and the remedy; None if nothing is.

    It does not say the name, because the command line knows the field under another one.
    """
    if name in _SEVERAL and isinstance(value, str):  # each character would count as one
        return f"takes several: give ({value!r},)"
    if name == "script_name":
        return _script_name_problem(value)
    if name == "roles":
        return _roles_problem(value)
    if name == "mounts":
        return _mounts_problem(value)
    if name == "worker_class":
        return _worker_class_problem(value)
    if name in _CHOICES and value.lower() not in _CHOICES[name]:
        return f"{value!r} is none of {', '.join(_CHOICES[name])}"
    if name in _FORMS:
        return _form_problem(value, *_FORMS[name])
    if name == "checks":
        return _checks_problem(value)
    if name == "hooks":
        return _hooks_problem(value)
    if name == "env":
        return _env_problem(value)
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            return f"must be a finite number, not {value}"
        least = 1 if name in _AT_LEAST_ONE else 0
        return f"must be at least {least}, not {value}" if value < least else None
    return None


def _form_problem(value: str, pattern: str, remedy: str) -> str | None:
    if not re.fullmatch(pattern, value):
        return f"{value!r} is not understood; {remedy}"
    least, colon, most = value.partition(":")
    if colon and least.isdigit() and int(least) > int(most):
        return f"{value!r} has more at least than at most; give {most}:{least}"
    return None


def _worker_class_problem(value: str) -> str | None:
    if value in ("gthread", "gevent"):
        return None
    remedy = _WORKER_CLASSES.get(value, "give gthread (threads), or gevent (greenlets)")
    return f"{value!r} is none of gthread, gevent; {remedy}"


def _checks_problem(value: tuple[str, ...]) -> str | None:
    wrong = next((path for path in value if not path.startswith("/")), None)
    return None if wrong is None else f"{wrong!r} is not understood; a path starts with '/'"


def _hooks_problem(value: Mapping[str, Any]) -> str | None:
    for name, function in value.items():
        if name not in HOOKS:
            return f"{name!r} is no hook; there are {', '.join(HOOKS)}"
        if not isinstance(function, str) or not re.fullmatch(r"[\w.]+:[\w.]+", function):
            return f"{name} = {function!r} is not understood; give 'module:function'"
    return None


def _env_problem(value: tuple[str, ...]) -> str | None:
    for number, item in enumerate(value, 1):
        name, equals, _ = item.partition("=")
        if not name or not equals or "\0" in item:
            # Not shown, because it may be a secret.
            return f"number {number} of {len(value)} is not NAME=VALUE"
    return None


def _mounts_problem(value: tuple[str, ...]) -> str | None:
    known: set[str] = set()
    for item in value:
        prefix, equals, application = item.partition("=")
        if not prefix.startswith("/") or not equals or not application:
            return f"{item!r} is not understood; give /prefix=module:name"
        if prefix.endswith("/"):
            bare = prefix.rstrip("/")
            remedy = f"give {bare!r}" if bare else "the root is that of APPLICATION, the argument"
            return f"the prefix in {item!r} must not end in '/': {remedy}"
        if re.search("%[0-9A-Fa-f]{2}", prefix):
            return f"the prefix in {item!r} is compared with the decoded path; give it decoded"
        if prefix in known:
            return f"{prefix} is given twice"
        known.add(prefix)
    return None


def _script_name_problem(value: str | None) -> str | None:
    if value and not value.startswith("/"):
        return f"must be '' or start with '/', as '/{value}' does"
    if value and value.endswith("/"):
        bare = value.rstrip("/")
        return f"must not end in '/': give {bare!r}" + ("" if bare else ", which is the root")
    return None


def _roles_problem(value: tuple[str, ...]) -> str | None:
    unknown = [role for role in value if role not in ROLES]
    if unknown:
        return f"{unknown[0]!r} is no FastCGI role; choose among {', '.join(ROLES)}"
    return None if value else f"is empty; choose among {', '.join(ROLES)}"
