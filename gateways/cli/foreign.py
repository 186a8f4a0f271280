"""What the flags of other servers are called here, for whoever comes from uWSGI or gunicorn."""

from __future__ import annotations

from collections.abc import Iterable

from gateways.hints import nearest

_APPLICATION = "name the application as the argument: myapp:app or path/to/file.wsgi"
_SOCKET_OPTIONS = "it is part of the address: --bind 'unix:/path?mode=660&user=NAME&group=NAME'"
_TLS = "TLS is the web server's, in front of this one"

# The flags, without those that are the same here.
REMEDIES = {
    # uWSGI
    "--socket": "you mean --bind uwsgi:ADDRESS",
    "--uwsgi-socket": "you mean --bind uwsgi:ADDRESS",
    "-s": "you mean --bind uwsgi:ADDRESS",
    "--http": "you mean --bind http:ADDRESS",
    "--http-socket": "you mean --bind http:ADDRESS",
    "--http11-socket": "you mean --bind http:ADDRESS",
    "--fastcgi-socket": "you mean --bind fcgi:ADDRESS",
    "--scgi-socket": "you mean --bind scgi:ADDRESS",
    "--https": _TLS,
    "--chmod-socket": _SOCKET_OPTIONS,
    "--chown-socket": _SOCKET_OPTIONS,
    "--wsgi": _APPLICATION,
    "--wsgi-file": _APPLICATION,
    "--module": _APPLICATION,
    "--callable": _APPLICATION,
    "--processes": "you mean --workers",
    "-p": "you mean --workers",
    "--cheaper": "you mean --workers MIN:MAX",
    "--master": "there always is one, unless with --workers 0",
    "-M": "there always is one, unless with --workers 0",
    "--enable-threads": "threads of the application always run",
    "--gevent": "you mean --worker-class gevent --threads",
    "--lazy-apps": "that is the default; the contrary is --preload",
    "--harakiri": "you mean --timeout",
    "--uid": "you mean --user",
    "--gid": "you mean --group",
    "--virtualenv": "you mean --venv",
    "--home": "you mean --venv",
    "-H": "you mean --venv",
    "--py-autoreload": "you mean --reload",
    "--touch-reload": "you mean --reload-on-touch",
    "--reload-on-rss": "you mean --max-rss",
    "--evil-reload-on-rss": "you mean --max-rss",
    "--max-worker-lifetime": "you mean --max-lifetime",
    "--daemonize": "you mean --daemon, and --error-log FILE",
    "--logto": "you mean --error-log",
    "--ini": "you mean --config, a TOML file",
    "--listen": "you mean --backlog",
    "--buffer-size": "you mean --max-variables-bytes",
    "--limit-post": "you mean --max-body",
    "--post-buffering": "you mean --body-memory; more goes to a temporary file",
    "--die-on-term": "SIGTERM always stops",
    "--vacuum": "socket files are always removed",
    "--need-app": "without an application the start always fails",
    "--static-map": "files are the web server's to serve",
    # gunicorn
    "--worker-connections": "you mean --max-connections; with -k gevent also --threads",
    "--keep-alive": "you mean --idle-timeout",
    "--access-logfile": "you mean --access-log",
    "--access-logformat": "you mean --access-format",
    "--error-logfile": "you mean --error-log",
    "--log-file": "you mean --error-log",
    "--log-config": "give a [logging] table in gateways.toml",
    "--pid": "you mean --pidfile",
    "--raw-env": "you mean --env",
    "--reload-extra-file": "you mean --reload-on-touch",
    "--limit-request-line": "you mean --max-variables-bytes",
    "--limit-request-fields": "you mean --max-variables",
    "--limit-request-field_size": "you mean --max-variables-bytes",
    "--initgroups": "that is done wherever --user is given",
    "--worker-tmp-dir": "no such file is needed",
    "--certfile": _TLS,
    "--keyfile": _TLS,
}


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """What to say after "there is no NAME": the nearest of ``known``, or else nothing."""
    near = nearest(name, known, cutoff=0.7)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
