"""Every option of a server: one class of values, from which everything else is derived.

That is the command line, the environment variables, the keys of the configuration file and the
reference page. A field's name carries its unit (``…_seconds``, ``…_bytes``), its metadata what is
shown. An option is declared here and nowhere else; what its values may be is in ``checks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateways.checks import find_problem
from gateways.errors import ConfigError
from gateways.values import Value, field, fields

KIB = 1024
_heading = ""


def _under(heading: str) -> None:
    """Put ``heading`` over the fields declared from here on, in the help and the reference."""
    global _heading
    _heading = heading


def _option(default: Any, help: str, *, flags: str = "", metavar: str = "") -> Any:
    """A field with its help text, extra short flags and the placeholder shown for its value."""
    metadata = {"help": help, "flags": flags, "metavar": metavar, "group": _heading}
    return field(default=default, metadata=metadata)


def _table(help: str) -> Any:
    """A field that only the configuration file can give, as a table of that name."""
    metadata = {"help": help, "table": True, "group": _heading}
    return field(default={}, metadata=metadata)


class Config(Value, kw_only=True):
    """The options of one server process. Zero means "no limit" where a limit's help says so."""

    _under("Where to listen")

    bind: tuple[str, ...] = _option(
        (),
        "Where to listen; may be given several times. /path or "
        "unix:/path?mode=660&user=NAME&group=NAME, @abstract, host:port, [::1]:port, fd://N. "
        "Without it: the sockets that systemd passes, or the listening socket on descriptor 0.",
        flags="-b",
        metavar="ADDRESS",
    )
    protocol: str = _option(
        "fcgi",
        "What is spoken where --bind does not say it (fcgi:/path, http:host:port): fcgi, uwsgi, "
        "scgi, http, auto (recognised by the first bytes) or auto[fcgi,http].",
        metavar="NAME",
    )
    allow: tuple[str, ...] = _option(
        (),
        "Who may connect; may be given several times. An address or network (10.0.0.0/8), or for "
        "Unix sockets user:NAME or group:NAME. Without it: everybody who can.",
        metavar="PEER",
    )
    backlog: int = _option(1024, "Connections that the kernel queues before they are accepted.")

    _under("Processes")

    worker_class: str = _option(
        "gthread",
        "What --threads are: gthread (threads of the system), or gevent (greenlets, all in one "
        "such thread, for applications that are written for it). Needs gateways[gevent].",
        flags="-k",
        metavar="NAME",
    )
    threads: int = _option(
        4,
        "Worker threads, each runs one request at a time. With -k gevent greenlets, of which "
        "hundreds are usual.",
        flags="-t",
    )
    workers: str = _option(
        "1",
        "Worker processes under a supervisor: N, auto (as many as the CPUs that may be used) or "
        "MIN:MAX (more while all threads are busy; with 0:MAX none while nobody asks). "
        "0: serve in this very process, without a supervisor.",
        flags="-w",
        metavar="N",
    )
    preload: bool = _option(
        False,
        "Load the application once per generation and fork the workers from there: they start "
        "at once and share its memory.",
    )
    max_requests: int = _option(
        0, "Replace a worker after about this many requests, its successor first. 0: never."
    )
    max_requests_jitter: int = _option(
        0, "Add up to this many, by chance, so that not all workers are replaced at once."
    )
    max_rss_bytes: int = _option(
        0, "Replace a worker whose resident memory has grown past this. 0: never."
    )
    max_lifetime_seconds: float = _option(
        0.0, "Replace a worker after this time (and up to a tenth more, by chance). 0: never."
    )
    worker_idle_timeout_seconds: float = _option(
        60.0, "With --workers MIN:MAX, stop a worker beyond MIN that has been idle this long."
    )
    start_timeout_seconds: float = _option(
        60.0, "How long a worker may take to load the application and be ready. 0: for ever."
    )
    checks: tuple[str, ...] = _option(
        (),
        "Before a worker may serve, request this path inside it; the answer must be below 400. "
        "May be given several times.",
        metavar="PATH",
    )
    reload: bool = _option(
        False,
        "Reload when a Python file of the application, the configuration file or an --env-file "
        "changes. Needs gateways[reload].",
    )
    reload_on_touch: tuple[str, ...] = _option(
        (), "Reload when this file is touched; may be given several times.", metavar="FILE"
    )

    _under("Application")

    chdir: str = _option(
        "", "Directory to change to before the application is loaded.", metavar="DIR"
    )
    pythonpath: tuple[str, ...] = _option(
        (), "Directory to put in front of sys.path; may be given several times.", metavar="DIR"
    )
    mounts: tuple[str, ...] = _option(
        (),
        "Serve another application below this prefix (/shop=shop:app); may be given several times. "
        "The longest prefix of a path counts, and APPLICATION, if given, has the rest.",
        metavar="/PREFIX=APPLICATION",
    )
    script_name: str | None = _option(
        None,
        "Where the application is mounted: '' for the root, or /prefix. "
        "Without it: what the web server says.",
        metavar="PATH",
    )
    forwarded_allow_ips: tuple[str, ...] = _option(
        ("127.0.0.0/8", "::1", "unix"),
        "HTTP: proxies that may set scheme, host, port, client and prefix by X-Forwarded-* or "
        "Forwarded. Addresses, networks, unix (all Unix peers) or *; may be given several times.",
        flags="--forwarded-allow-ips",
        metavar="PEER",
    )
    trust_remote_user: bool = _option(
        True,
        "Hand REMOTE_USER and AUTH_TYPE on to the application. Turn it off where the web server "
        "sets them from a password that nobody checked (nginx's stock fastcgi_params).",
    )
    roles: tuple[str, ...] = _option(
        ("responder",),
        "FastCGI roles to serve: responder, authorizer, filter; may be given several times.",
        metavar="ROLE",
    )
    multiplex: bool = _option(
        True, "Serve several FastCGI requests at once on one connection where the peer wants it."
    )
    debug: bool = _option(False, "Show the traceback in the error page. Never on a public site.")
    venv: str = _option(
        "", "Virtual environment whose packages the application uses.", metavar="DIR"
    )

    _under("Environment and privileges")

    env: tuple[str, ...] = _option(
        (),
        "Environment variable for the application; may be given several times.",
        metavar="NAME=VALUE",
    )
    env_files: tuple[str, ...] = _option(
        (),
        "File of such lines, read again at each reload; may be given several times.",
        metavar="FILE",
    )
    clear_env: bool = _option(
        False,
        "Give the application no variables but PATH, HOME, USER, LOGNAME, LANG, LC_*, TZ, TMPDIR, "
        "VIRTUAL_ENV and those of --env.",
    )
    user: str = _option("", "User to serve as; the sockets are bound before.", metavar="USER")
    group: str = _option(
        "", "Group to serve as. Without it: the groups of --user.", metavar="GROUP"
    )
    umask: str = _option("", "Umask of the workers, in octal: 027.", metavar="MODE")
    chroot: str = _option(
        "", "Directory that the workers see as the root of all files.", metavar="DIR"
    )

    _under("In the background")

    daemon: bool = _option(
        False, "Go into the background, once the application serves; 0 is left only then."
    )
    pidfile: str = _option(
        "",
        "File for the process id, locked while it runs; `gateways reload --pidfile` needs it.",
        metavar="FILE",
    )

    _under("Logging")

    log_level: str = _option("info", "debug, info, warning, error or critical.", metavar="LEVEL")
    error_log: str = _option(
        "",
        "File for the log, instead of standard error (also -). SIGUSR1 opens it anew.",
        metavar="FILE",
    )
    access_log: str = _option(
        "", "File for a line per request; - is standard output. Without it: none.", metavar="FILE"
    )
    access_format: str = _option(
        "combined",
        "combined, json, or a format of your own: '{client} {method} {path} {status} "
        "{request_time:.3f}'; docs/logging.md has the names.",
        metavar="FORMAT",
    )
    sigusr1: str = _option(
        "auto",
        "What SIGUSR1 does: reopen (the logs) or stop (gracefully, as FastCGI process managers "
        "mean it). auto: stop where the listening socket was passed on descriptor 0 by anyone "
        "but supervisord, else reopen.",
        metavar="MEANING",
    )

    _under("Time-outs")

    timeout_seconds: float = _option(
        0.0,
        "How long a request may run until its response begins; then the thread's stack is logged, "
        "RequestTimeout is raised in it and 504 answered. 0: for ever.",
    )
    timeout_streaming: bool = _option(False, "Have --timeout end responses that have begun, too.")
    timeout_grace_seconds: float = _option(
        3.0,
        "How long a thread may take to react to RequestTimeout; then 504 is answered in its stead "
        "and its worker is replaced.",
    )
    slow_log_seconds: float = _option(
        0.0, "Log a request and the stack of its thread when it has run this long. 0: never."
    )
    graceful_timeout_seconds: float = _option(
        30.0, "How long running requests may take to finish when the server stops."
    )
    idle_timeout_seconds: float = _option(
        75.0, "Close a connection on which nothing has been asked for this long. 0: never."
    )
    header_timeout_seconds: float = _option(
        30.0, "How long a peer may take to send the variables of one request. 0: for ever."
    )
    body_timeout_seconds: float = _option(
        60.0, "How long to wait for the next piece of a request body. 0: for ever."
    )
    write_timeout_seconds: float = _option(
        60.0, "How long a peer may refuse to take the next piece of a response. 0: for ever."
    )
    linger_timeout_seconds: float = _option(
        5.0, "How long to drain what a peer still sends after its response, before the close."
    )

    _under("Limits")

    max_connections: int = _option(
        16384, "Open connections; more wait in the backlog. Lowered to what descriptors allow."
    )
    max_requests_per_connection: int = _option(
        0, "Close a kept connection after this many requests. 0: no limit."
    )
    max_queued_requests: int = _option(
        1024, "Requests that wait for a thread in this process; one more is answered 503."
    )
    max_variables_bytes: int = _option(
        64 * KIB, "Size of all variables (headers included) of a request; more is answered 431."
    )
    max_variables: int = _option(
        1000, "Number of variables (headers included) of a request; more is answered 431."
    )
    max_body_bytes: int = _option(
        0, "Size of a request body; more is answered 413. 0: no limit (the web server has one)."
    )
    body_memory_bytes: int = _option(
        64 * KIB, "Of a request body, what is held in memory; more goes to a temporary file."
    )
    body_spool_bytes: int = _option(
        1024 * KIB * KIB, "Of a request body that nobody reads yet, what is held in that file."
    )
    write_buffer_bytes: int = _option(
        64 * KIB, "Of a response in the making, what is held while the peer is slow to take it."
    )

    _under("Only in the configuration file")

    hooks: Mapping[str, str] = _table(
        "Functions to call, each named as module:function: on_start, post_fork, on_ready, "
        "on_exit, on_reload."
    )
    logging: Mapping[str, Any] = _table(
        "A configuration for logging.config.dictConfig, in place of --error-log and --log-level."
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for the first value that cannot be meant."""
        for each in fields(type(self)):
            problem = find_problem(each.name, getattr(self, each.name))
            if problem:
                raise ConfigError(f"{each.name}: {problem}")


class Workers(NamedTuple):
    """How many worker processes: between ``least`` and ``most``; (0, 0) is no supervisor."""

    least: int
    most: int


def parse_workers(text: str, cpus: int) -> Workers:
    """What ``workers`` says on a machine where ``cpus`` may be used."""
    if text == "auto":
        return Workers(cpus, cpus)
    least, _, most = text.partition(":")
    return Workers(int(least), int(most or least))
