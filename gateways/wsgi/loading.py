"""Finding the application: from what the operator wrote to a callable, or to a useful refusal.

Two kinds of failure are told apart. Where the reference is wrong, the message holds the remedy.
Where the application's own code raised, the ConfigError is raised *from* what it raised, and
``explain_failure`` prints that traceback without the frames that are not the application's, and
then what a wrong interpreter or a wrong directory would show in.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any, TypeGuard

from gateways.errors import ConfigError
from gateways.hints import nearest
from gateways.wsgi.callables import accepts, is_asynchronous
from gateways.wsgi.reference import FILE_SUFFIXES, parse_reference

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

DEFAULT_NAMES = ("application", "app")


def load_application(reference: str) -> Application:
    """Import what ``reference`` names and return its WSGI callable.

    Puts a file's directory first on ``sys.path``; a module is looked for on ``sys.path`` as it is.
    Raises ConfigError; its ``__cause__`` is what the application's own code raised, if that failed.
    """
    parsed = parse_reference(reference)
    module = _load_file(parsed.target) if parsed.is_file else _import_module(parsed.target)
    names = parsed.names or (_default_name(module, parsed.target),)
    label = f"{parsed.target}:{'.'.join(names)}"
    found = _find(module, parsed.target, names)
    if parsed.call is not None:
        if not callable(found):
            raise ConfigError(f"'{label}' is {_kind(found)}, which cannot be called; leave out (…)")
        args, kwargs = parsed.call
        try:
            found = found(*args, **kwargs)
        except (Exception, SystemExit) as error:
            raise _failed(f"calling '{label}'", error) from error
    return _checked(found, label, called=parsed.call is not None)


def explain_failure(error: BaseException) -> str:
    """The text that tells an operator why the application did not load, in several lines.

    The traceback comes first, if the application's code raised; then the message; then what a
    wrong interpreter, a wrong virtual environment or a wrong directory would show in.
    """
    parts = []
    theirs = error.__cause__ if isinstance(error, ConfigError) else error
    if theirs is not None:
        shown = traceback.TracebackException.from_exception(theirs)
        _trim(shown)
        bare = not shown.stack and shown.__cause__ is None and shown.__context__ is None
        parts += [*(shown.format_exception_only() if bare else shown.format()), "\n"]
    if theirs is not error:
        parts.append(f"{error}\n\n")
    try:
        directory = os.getcwd()
    except OSError as gone:
        directory = f"not readable ({gone.strerror})"
    version = f"{sys.implementation.name} {sys.version.partition(' ')[0]}"
    parts.append(f"Interpreter: {sys.executable} ({version})\n")
    parts.append(f"Working directory: {directory}\nsys.path:\n")
    parts += [f"  {entry or repr(entry)}\n" for entry in sys.path]
    return "".join(parts)


# The module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if _is_missing(error, name):
            no_file = f"There is no file {name}, and: " if name.endswith(FILE_SUFFIXES) else ""
            raise ConfigError(no_file + _missing_module(error)) from None
        raise _failed(f"importing '{name}'", error) from error


class _ScriptLoader(importlib.machinery.SourceFileLoader):
    """Compiles anew each time: the cached bytecode of app.fcgi would bear the name of app.py's."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _load_file(path: str) -> ModuleType:
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a directory; name a file in it, or the package as a module")
    if not os.path.isfile(path):
        folder = os.path.dirname(path) or "."
        siblings = os.listdir(folder) if os.path.isdir(folder) else []
        suggestion = _similar(os.path.basename(path), siblings)
        raise ConfigError(f"There is no file {path}{suggestion}")
    path = os.path.realpath(path)  # as `python file` does
    directory, base = os.path.split(path)
    stem = os.path.splitext(base)[0]
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    name = _importable_name(path)
    try:
        if name is not None:
            return importlib.import_module(name)
        return _load_script("gateways_script_" + re.sub(r"\W", "_", stem), path)
    except (Exception, SystemExit) as error:
        raise _failed(f"loading {path}", error) from error


def _importable_name(path: str) -> str | None:
    """The name by which an import of the application's own would find this file, if there is one.

    It is loaded under that name, else such an import would run the file a second time. There is
    none for app.fcgi, which likely imports an app.py, and for app.py beside a package app/.
    """
    directory, base = os.path.split(path)
    stem = os.path.splitext(base)[0]
    if not stem.isidentifier():
        return None
    spec = importlib.machinery.PathFinder.find_spec(stem, [directory])
    loaded = sys.modules.get(stem)
    origins = [spec and spec.origin, path if loaded is None else getattr(loaded, "__file__", None)]
    return stem if all(at and os.path.realpath(at) == path for at in origins) else None


def _load_script(stem: str, path: str) -> ModuleType:
    """Runs the file once, however often it is named; others may have the same stem."""
    name, number = stem, 1
    while (loaded := sys.modules.get(name)) is not None:
        if getattr(loaded, "__file__", None) == path:
            return loaded
        number += 1
        name = f"{stem}_{number}"
    return _run_script(name, path)


def _run_script(name: str, path: str) -> ModuleType:
    loader = _ScriptLoader(name, path)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


# The object in it


def _default_name(module: ModuleType, target: str) -> str:
    present = [name for name in DEFAULT_NAMES if hasattr(module, name)]
    usable = [name for name in present if callable(getattr(module, name))]
    if present:
        return (usable or present)[0]
    raise ConfigError(
        f"{_describe(module, target)} has neither 'application' nor 'app'; "
        f"name the application as '{target}:NAME'.{_offers(module, target)}"
    )


def _find(module: ModuleType, target: str, names: tuple[str, ...]) -> object:
    found: object = module
    for depth, name in enumerate(names):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            owner = f"'{target}:{'.'.join(names[:depth])}'" if depth else _describe(module, target)
            offers = "" if depth else _offers(module, target)
            message = f"{owner} has no {name!r}{_similar(name, dir(found))}.{offers}"
            # A property or a module's __getattr__ may have failed in earnest: keep its traceback.
            raise ConfigError(message) from error if _passed_theirs(error.__traceback__) else None
        except (Exception, SystemExit) as error:
            raise _failed(f"looking up '{target}:{'.'.join(names)}'", error) from error
    return found


def _checked(found: object, label: str, *, called: bool) -> Application:
    """``found`` if it can be a WSGI application, as far as that can be known without calling it."""
    what = f"The factory '{label}' returned {_kind(found)}" if called else f"'{label}' is "
    if not callable(found):
        if called:
            remedy = "; does it end in 'return app'?" if found is None else ""
            raise ConfigError(f"{what}, which is no WSGI application: it is not callable{remedy}")
        offers = _offers(found, found.__name__) if isinstance(found, ModuleType) else ""
        raise ConfigError(
            f"{what}{_kind(found)}, which is no WSGI application: it is not callable.{offers}"
        )
    what = what if called else f"{what}{_kind(found)}"
    if is_asynchronous(found):
        raise ConfigError(
            f"{what}, which is asynchronous: an ASGI application, it seems. WSGI is served here; "
            "wrap it in an adapter from ASGI to WSGI (a2wsgi's ASGIMiddleware is one)"
        )
    if not accepts(found, 2):
        remedy = "a WSGI application is called with (environ, start_response)"
        if not called:
            call = f"{label}()" if accepts(found, 0) else f"{label}(…)"
            remedy += f'. If it is a factory, call it: "{call}"'
        raise ConfigError(f"{what}, which cannot take two arguments; {remedy}")
    return found


# What the messages say


def _failed(doing: str, error: BaseException) -> ConfigError:
    """The error for code of the application that raised; to be raised *from* ``error``."""
    detail = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SystemExit):
        code = "…" if isinstance(error.code, str) else "" if error.code is None else error.code
        detail = f"it called sys.exit({code}). A script's own start of a server belongs below "
        detail += "if __name__ == '__main__'"
    elif isinstance(error, ModuleNotFoundError):
        detail += f". Is it installed for this interpreter, {sys.executable}?"
    return ConfigError(f"{doing[0].upper()}{doing[1:]} failed: {detail}")


def _missing_module(error: ModuleNotFoundError) -> str:
    name = error.name or ""
    parent, _, last = name.rpartition(".")
    package = sys.modules.get(parent)
    if package is not None and hasattr(package, last):
        return f"{error}, but '{parent}' has a {last!r}: did you mean '{parent}:{last}'?"
    similar = _similar(last, _modules(getattr(package, "__path__", ()) if parent else None))
    file = f", or give the file: ./{name}" if os.path.isfile(name) else ""
    return (
        f"{error}{similar}. Start in the directory that holds it, or name that directory with "
        f"--chdir or --pythonpath{file}"
    )


def _modules(path: Iterable[str] | None) -> list[str]:
    """The names of the modules in these directories; None: in those of sys.path."""
    try:
        import pkgutil  # and that inspect

        return [module.name for module in pkgutil.iter_modules(path)]
    except ImportError:  # the user that this process has become may not read Python's own files
        return []


def _similar(name: str, names: Iterable[str]) -> str:
    matches = nearest(name, set(names) - {name}, 3)
    return f" (did you mean {' or '.join(map(repr, sorted(matches)))}?)" if matches else ""


def _offers(module: ModuleType, target: str) -> str:
    """What in the module could be meant: WSGI applications, and factories of its own."""
    offers = []
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, type) or not callable(value):
            continue
        if isinstance(value, FunctionType):
            if value.__module__ != module.__name__:
                continue
            if accepts(value, 2):
                offers.append(f"{target}:{name}")
            elif accepts(value, 0) and re.match("(create|make|get|build)_", name):
                offers.append(f"{target}:{name}()")
        # A proxy (flask.request) has no __call__ of its own, but something that looks it up.
        elif isinstance(type(value).__call__, FunctionType) and accepts(value, 2):
            offers.append(f"{target}:{name}")
    return f" What could be called there: {', '.join(sorted(offers))}" if offers else ""


def _describe(module: ModuleType, target: str) -> str:
    file = getattr(module, "__file__", None)
    return f"'{target}'" + (f" ({file})" if file and os.path.realpath(target) != file else "")


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


# Whose frame is it


def _is_theirs(file: str) -> bool:
    ours = file == load_application.__code__.co_filename
    return not (ours or file == importlib.__file__ or file.startswith("<frozen importlib"))


def _passed_theirs(frames: TracebackType | None) -> bool:
    return any(_is_theirs(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(frames))


def _is_missing(error: BaseException, name: str) -> TypeGuard[ModuleNotFoundError]:
    """Whether it is ``name`` itself (or a package above it) that was not found."""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{name}.".startswith(f"{error.name}.")
        and not _passed_theirs(error.__traceback__)
    )


def _trim(shown: traceback.TracebackException) -> None:
    shown.stack[:] = [frame for frame in shown.stack if _is_theirs(frame.filename)]
    for other in filter(None, (shown.__cause__, shown.__context__, *(shown.exceptions or ()))):
        _trim(other)
