"""What ``gateways config`` prints: a configuration of contrib/, filled in for one's own site.

It is the file, with values in place of its placeholders and under a heading of its own;
the tests boot it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from typing import Any, NamedTuple

from gateways.cli import templates
from gateways.cli.webservers import (
    APACHE_MODULES,
    DEFAULT_PORT,
    MANAGERS,
    WEB_SERVERS,
    endpoint,
    file_of,
)
from gateways.core.addresses import PROTOCOLS, Address, Kind, parse_address, split_protocol
from gateways.errors import ConfigError

_FOR_WEB_SERVERS = ("static", "server_name", "listen")
_FOR_MANAGERS = ("directory", "user", "logs", "activated")
_SUPERVISOR_LOGS = "/var/log/supervisor"
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_PLAIN = re.compile(r"[\w./+:,=~-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+")
_LISTEN = re.compile(r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):)?[0-9]{1,5}")


class _Site(NamedTuple):
    """What every configuration is about; ``bind`` is ``address`` as it was given."""

    front_end: str
    application: str
    protocol: str
    bind: str
    address: Address
    prefix: str
    name: str


def render(front_end: str, application: str, *, bind: str, name: str | None, **values: Any) -> str:
    """The configuration. Raises ConfigError, with the remedy, for what cannot work."""
    _check_combination(front_end, values)
    protocol, text, address = _where(bind, values["protocol"])
    prefix: str = values["prefix"].rstrip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or "/." in prefix):
        raise ConfigError(f"--prefix {prefix}: give a path of plain letters, as in /myapp")
    name = name or _name_of(application)
    _check("--name", name, re.compile("[A-Za-z0-9_-]+"), "letters, digits, - and _")
    if "\n" in application:
        raise ConfigError("the application's name has a line break in it; leave it out")
    site = _Site(front_end, application, protocol, text, address, prefix, name)
    return (
        _for_a_manager(site, values) if front_end in MANAGERS else _for_a_web_server(site, values)
    )


def _check_combination(front_end: str, values: dict[str, Any]) -> None:
    managed = front_end in MANAGERS
    for option in _FOR_WEB_SERVERS if managed else _FOR_MANAGERS:
        if values[option]:
            flag = "--" + option.replace("_", "-")
            whose = (
                "a web server's: gateways config nginx"
                if managed
                else ("a process manager's: gateways config systemd")
            )
            raise ConfigError(f"{flag} is nothing to {front_end}; it is {whose} {flag} …")
    if not managed:
        server = WEB_SERVERS[front_end]
        if values["static"] and not server.serves_files:
            raise ConfigError(
                f"{front_end} serves no files, so leave --static out; the application serves them, "
                "or a web server of their own (gateways config nginx)"
            )
        if values["listen"] and server.listen is None:
            raise ConfigError(
                f"--listen: the port of {front_end} is server.port in its lighttpd.conf, for all "
                "sites; leave it out"
            )


def _where(bind: str, protocol: str | None) -> tuple[str, str, Address]:
    """Protocol, address without it, and what it means."""
    named, text = split_protocol(bind, protocol or "fcgi")
    if protocol is not None and named != protocol:
        raise ConfigError(f"--bind {bind} and --protocol {protocol} contradict each other")
    if named not in PROTOCOLS:
        raise ConfigError(
            f"--bind {bind}: name the protocol that it is to speak, as in fcgi:{text}"
        )
    address = parse_address(text)
    if address.kind is Kind.ABSTRACT or address.kind is Kind.DESCRIPTOR:
        raise ConfigError(
            f"--bind {bind}: nobody else can be told to connect there; give unix:/path or host:port"
        )
    if address.kind is Kind.TCP and not address.port:
        raise ConfigError(f"--bind {bind}: port 0 is another one at every start; give a number")
    if address.kind is Kind.UNIX:
        _check("--bind", address.path, _PLAIN, "a path of plain letters")
        path = os.path.abspath(address.path)
        _, question, options = text.partition("?")
        text = f"unix:{path}{question}{options}"
        address = Address(
            Kind.UNIX, path=path, mode=address.mode, user=address.user, group=address.group
        )
    return named, text, address


def _check(option: str, value: str, pattern: re.Pattern[str], wanted: str) -> None:
    """Refuse what would have to be quoted, which each of these files does in its own way."""
    if not pattern.fullmatch(value):
        raise ConfigError(f"{option} {value!r}: give {wanted}")


def _name_of(application: str) -> str:
    """A name for the application: that of its package or file."""
    path = application.partition(":")[0]
    stem = os.path.basename(path).partition(".")[0] if "/" in path else path.partition(".")[0]
    return re.sub("[^A-Za-z0-9_-]+", "-", stem).strip("-") or "app"


def _for_a_web_server(site: _Site, values: dict[str, Any]) -> str:
    front_end, application, protocol, bind, address, prefix, name = site
    server = WEB_SERVERS[front_end]
    file = file_of(front_end, protocol, address, prefix)
    filled = {
        "BACKEND": server.backend(protocol, address),
        "PREFIX": prefix,
        "MOUNT": prefix or "/",
        "NAME": name,
        "MODULES": APACHE_MODULES[protocol],
        "ENABLE": "lighty-enable-mod fastcgi; " if protocol == "fcgi" else "",
    }
    if values["server_name"]:
        _check("--server-name", values["server_name"], _HOST, "one name, as in example.org")
        filled["SERVER_NAME"] = values["server_name"]
    if values["static"]:
        filled["STATIC"] = os.path.abspath(values["static"])
        _check("--static", filled["STATIC"], _PLAIN, "a path of plain letters")
    listen = values["listen"] or DEFAULT_PORT
    _check("--listen", listen, _LISTEN, "a port, or host:port")
    if server.listen is not None:
        filled["LISTEN"] = server.listen(listen)
    filled["SITE"] = _site(values["server_name"], values["listen"])
    body = _body(front_end, file, filled | _defaults(front_end, filled))
    command = [*_command(protocol, bind, prefix), application]
    if protocol in server.lies_about_users:
        command.insert(-1, "--no-trust-remote-user")
    heading = [
        f"The server behind it, {application} over {protocol}:",
        "",
        f"    {shlex.join(command)}",
        "",
        *_who_may_connect(address, server.user),
        f"Goes into {templates.fill(server.place, filled)}",
        f"(contrib/{front_end}/{file})",
    ]
    return _comment("#", heading) + body


def _defaults(front_end: str, filled: dict[str, str]) -> dict[str, str]:
    """nginx has a word for any name."""
    return {"SERVER_NAME": "_"} if front_end == "nginx" and "SERVER_NAME" not in filled else {}


def _site(server_name: str | None, listen: str | None) -> str:
    """The address of a site of Caddy, which gets a certificate for a name without a port."""
    if listen is None:
        return server_name or f":{DEFAULT_PORT}"
    host, _, port = listen.rpartition(":")
    return f"http://{server_name or host}:{port}"


def _who_may_connect(address: Address, user: str) -> list[str]:
    if address.kind is not Kind.UNIX or address.mode is not None or address.group is not None:
        return []
    return [f"{user} must be allowed to connect to it: append ?group={user} to the address.", ""]


def _for_a_manager(site: _Site, values: dict[str, Any]) -> str:
    front_end, application, protocol, bind, address, prefix, name = site
    directory = os.path.abspath(values["directory"] or os.curdir)
    _check("--directory", directory, _PLAIN, "a path of plain letters")
    if front_end == "systemd" and values["logs"]:
        raise ConfigError("--logs: what a service of systemd says is in the journal; leave it out")
    user = values["user"]
    if user:
        _check("--user", user, re.compile("[A-Za-z0-9._-]+"), "the name of a user")
    options = [f"--script-name={prefix}"]
    if front_end == "supervisor" and user:
        options.append(f"--user={user}")
    filled = {
        "GATEWAYS": _gateways(),
        "APPLICATION": _quoted(front_end, application),
        "DIRECTORY": directory,
        "PROTOCOL": protocol,
        "PROTOCOLS": protocol,
        "BIND": _quoted(front_end, bind),
        "OPTIONS": shlex.join(options),
        "NAME": name,
        "RUN": f"/run/{name}",
        "LOGS": os.path.abspath(values["logs"] or _SUPERVISOR_LOGS),
        "USER": user or "www-data",
        "WEB_SERVER_USER": address.user or "www-data",
    }
    if front_end == "supervisor":
        return _for_supervisor(protocol, address, filled, activated=values["activated"])
    return _for_systemd(address, filled, activated=values["activated"])


def _for_supervisor(
    protocol: str, address: Address, filled: dict[str, str], *, activated: bool
) -> str:
    place = "Goes into /etc/supervisor/conf.d/@NAME@.conf, then: supervisorctl update"
    file = "program.conf"
    if activated:
        if protocol != "fcgi":
            raise ConfigError(
                "supervisord holds sockets for FastCGI alone; leave --activated or "
                f"--protocol {protocol} out"
            )
        file = "fcgi-program.conf"
        unix = address.kind is Kind.UNIX
        filled["SOCKET"] = f"unix://{address.path}" if unix else f"tcp://{endpoint(address)}"
    heading = [templates.fill(place, filled), f"(contrib/supervisor/{file})"]
    return _comment(";", heading) + _body("supervisor", file, filled)


def _for_systemd(address: Address, filled: dict[str, str], *, activated: bool) -> str:
    reload = "then: systemctl daemon-reload && systemctl enable --now"
    if not activated:
        place = f"Goes into /etc/systemd/system/@NAME@.service, {reload} @NAME@.service"
        heading = [templates.fill(place, filled), "(contrib/systemd/gateways.service)"]
        if address.kind is Kind.UNIX and os.path.dirname(address.path) != filled["RUN"]:
            note = (
                "{USER} must be allowed to make the socket; in {RUN} it is, which is made for it."
            )
            heading[:0] = [note.format(**filled), ""]
        return _comment("#", heading) + _body("systemd", "gateways.service", filled)
    filled["SOCKET"] = address.path if address.kind is Kind.UNIX else endpoint(address)
    parts = []
    for file, place in (
        ("gateways.socket", f"Goes into /etc/systemd/system/@NAME@.socket, {reload} @NAME@.socket"),
        ("gateways-activated.service", "Goes into /etc/systemd/system/@NAME@.service"),
    ):
        heading = [templates.fill(place, filled), f"(contrib/systemd/{file})"]
        parts.append(_comment("#", heading) + _body("systemd", file, filled))
    return "\n".join(parts)


def _command(protocol: str, bind: str, prefix: str) -> list[str]:
    return ["gateways", protocol, "--bind", bind, f"--script-name={prefix}"]


def _gateways() -> str:
    """This command, as it can be called from anywhere."""
    program = shutil.which(sys.argv[0])
    if program is not None and os.path.basename(program) == "gateways":
        return os.path.abspath(program)
    return f"{sys.executable} -m gateways"


def _quoted(front_end: str, word: str) -> str:
    """A word of a command in the file of a process manager, which both expand what follows %."""
    word = word.replace("%", "%%")
    if front_end == "supervisor":
        return shlex.quote(word)
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return word if shlex.quote(word) == word else f'"{word}"'


def _body(front_end: str, file: str, filled: dict[str, str]) -> str:
    """A file filled in, without its heading, which is for those who fill it in by hand."""
    _, _, body = templates.read(front_end, file).partition("\n\n")
    return templates.fill(body, filled)


def _comment(mark: str, lines: list[str]) -> str:
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines) + "\n"
