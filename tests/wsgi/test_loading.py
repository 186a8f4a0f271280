"""References to applications: what each form loads, and what each mistake is told.

The modules are real files below tmp_path; ``python`` undoes what loading them did to this process.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.errors import ConfigError
from gateways.wsgi.loading import explain_failure, load_application
from gateways.wsgi.reference import Reference, parse_reference

Write = Callable[[str, str], Path]

APPLICATION = """
    def {name}(environ, start_response):
        return [{body!r}]
"""


@pytest.fixture(autouse=True)
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a file below the working directory, which is first on sys.path meanwhile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    modules = dict(sys.modules)

    def write_file(name: str, source: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    yield write_file
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


def simple(name: str, body: bytes = b"") -> str:
    """The source of a WSGI application called ``name``."""
    return textwrap.dedent(APPLICATION.format(name=name, body=body))


def answer(reference: str) -> bytes:
    """What the application behind ``reference`` answers."""
    return b"".join(load_application(reference)({}, lambda *_: None))


def refusal(reference: str) -> ConfigError:
    """The error with which ``reference`` is refused."""
    with pytest.raises(ConfigError) as caught:
        load_application(reference)
    return caught.value


# What is loaded

FACTORY = """
    class Site:
        def __init__(self, *words, **named):
            self.body = repr((words, named)).encode()
        def __call__(self, environ, start_response):
            return [self.body]

    def create_app(*words, **named):
        return Site(*words, **named)

    class site:
        app = Site("nested")
"""


@pytest.mark.parametrize(
    ("file", "source", "reference", "body"),
    [
        ("one.py", simple("app", b"app"), "one:app", b"app"),
        ("one.py", simple("other", b"other"), "one:other", b"other"),
        ("one.py", simple("app", b"app"), "one", b"app"),
        ("one.py", simple("application", b"this") + simple("app", b"app"), "one", b"this"),
        ("one.py", "application = None\n" + simple("app", b"app"), "one", b"app"),
        ("pack/deep/wsgi.py", simple("application", b"deep"), "pack.deep.wsgi", b"deep"),
        ("pack/__init__.py", simple("app", b"package"), "pack", b"package"),
        ("one.py", FACTORY, "one:site.app", b"(('nested',), {})"),
        ("one.py", FACTORY, "one:create_app()", b"((), {})"),
        ("one.py", FACTORY, "one: create_app ( ) ", b"((), {})"),
        ("one.py", FACTORY, "one:create_app('a:b/c.py', -1)", b"(('a:b/c.py', -1), {})"),
        ("one.py", FACTORY, "one:create_app(debug=True)", b"((), {'debug': True})"),
        ("one.py", FACTORY, "one:create_app([1, {'k': None}])", b"(([1, {'k': None}],), {})"),
        ("sub/one.py", simple("app", b"file"), "sub/one.py", b"file"),
        ("sub/one.py", simple("site", b"file"), "sub/one.py:site", b"file"),
        ("one.py", simple("app", b"file"), "one.py", b"file"),
        ("sub/one.wsgi", simple("application", b"wsgi"), "./sub/one.wsgi", b"wsgi"),
        ("one.wsgi", FACTORY, "one.wsgi:create_app(1)", b"((1,), {})"),
        ("one.fcgi", simple("app", b"fcgi"), "one.fcgi:app", b"fcgi"),
        ("a:b/one.py", simple("app", b"colon"), "a:b/one.py", b"colon"),
        ("./a:b/one.wsgi", FACTORY, "./a:b/one.wsgi:create_app('/x.py')", b"(('/x.py',), {})"),
        ("one-two.py", simple("app", b"dash"), "one-two.py", b"dash"),
        ("bin/serve", simple("app", b"no suffix"), "bin/serve:app", b"no suffix"),
        ("serve", simple("app", b"no suffix"), "./serve:app", b"no suffix"),
        ("site.cgi", simple("app", b"suffix"), "site.cgi:app", b"suffix"),
    ],
)
def test_a_reference_loads(
    file: str, source: str, reference: str, body: bytes, write: Write
) -> None:
    write(file, source)
    assert answer(reference) == body


def test_an_absolute_path_loads(write: Write) -> None:
    path = write("elsewhere/one.wsgi", simple("application", b"absolute"))
    assert answer(str(path)) == b"absolute"


def test_a_module_is_preferred_to_a_file_of_the_same_bare_name(write: Write) -> None:
    write("serve", "not python")
    write("serve.py", simple("app", b"module"))
    assert answer("serve") == b"module"


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        ("app:f.py", Reference("app", False, ("f", "py"))),
        ("./missing.wsgi:x", Reference("./missing.wsgi", True, ("x",))),
        ("mysite.wsgi", Reference("mysite.wsgi", False)),
        ("missing.py:x", Reference("missing.py", True, ("x",))),
        ("/srv/a:b/app.py", Reference("/srv/a:b/app.py", True)),
        ("some/where", Reference("some/where", True)),
        ("m:f(1, k=(2,))", Reference("m", False, ("f",), ([1], {"k": (2,)}))),
    ],
)
def test_a_reference_is_read_without_its_target(reference: str, parsed: Reference) -> None:
    assert parse_reference(reference) == parsed


def test_a_guarded_script_is_only_imported(write: Write) -> None:
    guard = "\nif __name__ == '__main__':\n    raise SystemExit('served')\n"
    write("site.fcgi", simple("app", b"imported") + guard)
    assert answer("site.fcgi") == b"imported"


def test_a_script_imports_the_module_of_the_same_name_beside_it(write: Write) -> None:
    write("sub/shop.py", simple("app", b"shop"))
    write("sub/shop.fcgi", "from shop import app")
    assert answer("sub/shop.fcgi") == b"shop"


def test_bytecode_of_the_module_beside_a_script_is_not_taken_for_the_script(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = write("sub/shop.py", simple("app", b"1"))
    answer("sub/shop.py")
    script = write("sub/shop.fcgi", simple("app", b"2"))
    os.utime(script, ns=(module.stat().st_atime_ns, module.stat().st_mtime_ns))
    assert answer("sub/shop.fcgi") == b"2"


def test_a_file_runs_once_where_the_application_imports_it_by_its_name(write: Write) -> None:
    write("sub/shop.py", "app = []\nimport views\n" + simple("app", b"x") + "app.seen = views.seen")
    write("sub/views.py", "import shop\nseen = shop")
    app: Any = load_application("sub/shop.py")
    assert app.seen is sys.modules["shop"]
    assert app.seen.app is app


def test_a_file_beside_a_package_of_the_same_name_can_import_that_package(write: Write) -> None:
    write("sub/shop/__init__.py", simple("app", b"package"))
    write("sub/shop.py", "from shop import app as inner\napp = lambda *a: [b'the ', *inner(*a)]")
    assert answer("sub/shop.py") == b"the package"


def test_a_file_named_as_a_module_that_is_loaded_does_not_replace_it(write: Write) -> None:
    write("sub/click.py", "import click\n" + simple("app", b"own"))
    before = sys.modules.get("click")
    if before is None:
        import click as before
    assert answer("sub/click.py") == b"own"
    assert sys.modules["click"] is before


def test_the_directory_of_a_file_is_first_on_the_path(write: Write, tmp_path: Path) -> None:
    write("real/one.wsgi", "import helper\napp = helper.app")
    write("real/helper.py", simple("app", b"helped"))
    (tmp_path / "link.wsgi").symlink_to(tmp_path / "real/one.wsgi")
    assert answer("link.wsgi") == b"helped"
    assert sys.path[0] == str(tmp_path / "real")


def test_the_directory_of_a_file_goes_before_what_is_on_the_path(
    write: Write, tmp_path: Path
) -> None:
    sys.path.append(str(tmp_path / "sub"))
    write("sub/one.wsgi", "from helper import app")
    write("sub/helper.py", simple("app", b"beside"))
    write("helper.py", simple("app", b"elsewhere"))
    assert answer("sub/one.wsgi") == b"beside"


def test_a_script_that_failed_is_not_left_among_the_modules(write: Write) -> None:
    write("broken.wsgi", "1 / 0")
    refusal("broken.wsgi")
    assert not [name for name in sys.modules if "broken" in name]


DECORATED = """
    import functools

    def responder(function):
        @functools.wraps(function)
        def application(*args):
            return function(args[0])
        return application

    @responder
    def app(request):
        return [b"decorated"]
"""


def test_a_decorator_may_make_an_application_of_a_function_of_one_argument(write: Write) -> None:
    write("one.py", DECORATED)
    assert answer("one") == b"decorated"


def test_a_flask_application_and_its_factory_load(write: Write) -> None:
    pytest.importorskip("flask")
    source = "import flask\ndef make_app():\n    return flask.Flask('x')\napp = make_app()\n"
    write("shop.py", source)
    assert type(load_application("shop:app")).__name__ == "Flask"
    assert type(load_application("shop:make_app()")).__name__ == "Flask"


def test_a_class_may_be_the_application(write: Write) -> None:
    write(
        "one.py",
        """
        class app:
            def __init__(self, environ, start_response):
                pass
            def __iter__(self):
                yield b"class"
        """,
    )
    assert answer("one") == b"class"


# What is refused, and with which remedy

ASGI = """
    async def app(scope, receive, send):
        pass

    class Star:
        async def __call__(self, scope, receive, send):
            pass

    star = Star()
"""
MISTAKES = """
    from functools import partial as _partial
    import os

    value = 42
    def application_(environ, start_response): ...
    def create_app(config=None): ...
    def create_with(config): ...
    def returns_value(): return 42
"""


@pytest.mark.parametrize(
    ("reference", "texts"),
    [
        ("", ["names no module and no file", "module:name"]),
        (":app", ["names no module and no file"]),
        (".one:app", ["names no module and no file"]),
        ("one:", ["behind the colon is empty"]),
        ("one:a b", ["'a b' is not a name"]),
        ("one:[1]", ["'[1]' is not a name"]),
        ("one:a().b", ["'a().b' is not a name"]),
        ("one:create_app(os.environ)", ["must be literals"]),
        ("one:create_app(__import__('os'))", ["must be literals"]),
        ("one:create_app(*[1])", ["must be literals"]),
        ("one:create_app(**{'a': 1})", ["must be literals"]),
        ("one:create_app(a=1, a=2)", ["must be literals"]),
        ("nowhere", ["No module named 'nowhere'", "--chdir", "--pythonpath"]),
        ("nowhere.wsgi:app", ["no file nowhere.wsgi", "No module named 'nowhere'", "--chdir"]),
        ("onee:app", ["No module named 'onee'", "did you mean 'one'?"]),
        ("pack.wsg:app", ["No module named 'pack.wsg'", "did you mean 'wsgi'?"]),
        ("one.value", ["did you mean 'one:value'?"]),
        ("sub", ["No module named 'sub'", "give the file: ./sub"]),
        ("nowhere.py", ["There is no file nowhere.py"]),
        ("on.py", ["There is no file on.py", "did you mean 'one.py'?"]),
        ("no/where/one.wsgi:app", ["There is no file no/where/one.wsgi"]),
        ("./pack", ["is a directory", "as a module"]),
        ("one", ["neither 'application' nor 'app'", "one:application_", "one:create_app()"]),
        ("one:aplication_", ["has no 'aplication_'", "did you mean 'application_'?"]),
        ("one:value.app", ["'one:value' has no 'app'"]),
        ("one:value", ["is an int", "not callable"]),
        ("one:os", ["is a module", "not callable"]),
        ("one:value()", ["an int, which cannot be called", "leave out"]),
        ("one:returns_value()", ["returned an int", "not callable"]),
        ("one:create_app()", ["returned None", "return app"]),
        ("one:create_app", ["cannot take two arguments", '"one:create_app()"']),
        ("one:create_with", ["cannot take two arguments", '"one:create_with(…)"']),
        ("asgi", ["asynchronous", "ASGI"]),
        ("asgi:star", ["asynchronous", "ASGI"]),
    ],
)
def test_a_mistake_is_told_with_its_remedy(reference: str, texts: list[str], write: Write) -> None:
    write("one.py", MISTAKES)
    write("asgi.py", ASGI)
    write("pack/__init__.py", "")
    write("pack/wsgi.py", simple("app"))
    write("sub", "")
    error = refusal(reference)
    for text in texts:
        assert text in str(error)
    assert error.__cause__ is None


def test_arguments_are_not_evaluated(write: Write, tmp_path: Path) -> None:
    write("one.py", FACTORY)
    refusal(f"one:create_app(open({str(tmp_path / 'made')!r}, 'w'))")
    assert not (tmp_path / "made").exists()


def test_only_what_could_be_the_application_is_offered(write: Write) -> None:
    pytest.importorskip("flask")
    write(
        "shop.py",
        """
        from os.path import join
        from flask import Flask, current_app, render_template, request

        def _private(environ, start_response): ...
        def view(): ...
        def create_site(): ...
        def create_shop(config): ...
        class Thing: ...
        site = Flask("x")
        """,
    )
    offered = str(refusal("shop")).partition("could be called there: ")[2]
    assert offered == "shop:create_site(), shop:site"


# The application's own code fails


@pytest.mark.parametrize(
    ("file", "reference", "source", "texts"),
    [
        ("bad.py", "bad:app", "raise RuntimeError('boom')", ["RuntimeError: boom"]),
        ("bad.py", "bad:app", "def app(:\n", ["SyntaxError", "def app(:"]),
        ("bad.py", "bad:app", "raise SystemExit(3)", ["called sys.exit(3)"]),
        ("bad.py", "bad:app", "import sys; sys.exit()", ["called sys.exit()"]),
        ("bad.fcgi", "bad.fcgi", "exit('no socket')", ["sys.exit(…)", "SystemExit: no socket"]),
        ("bad.py", "bad:app", "import not_here", ["No module named 'not_here'", "installed"]),
        ("bad.py", "bad:app", "import bad.not_here", ["'bad' is not a package"]),
        ("bad/__init__.py", "bad:app", "import bad.missing", ["named 'bad.missing'"]),
        ("bad/__init__.py", "bad.it:app", "import bad.it", ["line 1", "named 'bad.it'"]),
        ("bad.py", "bad:f()", "def f(): return 1 / 0", ["Calling 'bad:f'", "ZeroDivisionError"]),
        ("bad.py", "bad:f()", "def f(x): pass", ["missing 1 required positional argument"]),
        ("bad.py", "bad:f()", "def f(): exit(4)", ["Calling 'bad:f'", "sys.exit(4)"]),
        ("bad.py", "bad:x", "def __getattr__(name): return 1 / 0", ["Looking up 'bad:x'"]),
        ("bad.wsgi", "bad.wsgi", "raise RuntimeError('boom')", ["bad.wsgi", "RuntimeError: boom"]),
        ("bad.fcgi", "bad.fcgi", "import not_here", ["No module named 'not_here'"]),
        ("bad.py", "./bad.py", "\n\nraise RuntimeError('boom')", ["RuntimeError: boom"]),
    ],
)
def test_a_failure_of_the_application_keeps_its_cause(
    file: str, reference: str, source: str, texts: list[str], write: Write
) -> None:
    write(file, source)
    error = refusal(reference)
    assert error.__cause__ is not None
    explained = explain_failure(error)
    for text in texts:
        assert text in explained
    assert "importlib" not in explained
    assert "loading.py" not in explained


@pytest.mark.parametrize("reference", ["slow:app", "slow.py", "slow.wsgi"])
def test_a_keyboard_interrupt_is_not_a_failure(reference: str, write: Write) -> None:
    write("slow.py", "raise KeyboardInterrupt")
    write("slow.wsgi", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_application(reference)


def test_an_explanation_names_the_line_the_interpreter_and_the_path(
    write: Write, tmp_path: Path
) -> None:
    helper = write("helper.py", "\n\nvalue = {}['key']\n")
    module = write("one.py", "import helper\n")
    lines = explain_failure(refusal("one:app")).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    frames = [line.strip() for line in lines if line.startswith("  File ")]
    assert frames == [
        f'File "{module}", line 1, in <module>',
        f'File "{helper}", line 3, in <module>',
    ]
    assert "Importing 'one' failed: KeyError: 'key'" in lines
    assert any(line.startswith(f"Interpreter: {sys.executable} (") for line in lines)
    assert f"Working directory: {tmp_path}" in lines
    assert lines[lines.index("sys.path:") + 1 :] == [
        f"  {entry or repr(entry)}" for entry in sys.path
    ]


def test_the_chain_of_a_failure_is_explained_without_our_frames(write: Write) -> None:
    write(
        "one.py",
        """
        import importlib
        try:
            importlib.import_module("not_here")
        except ImportError as error:
            raise ValueError from error
        """,
    )
    explained = explain_failure(refusal("one:app"))
    assert "No module named 'not_here'" in explained
    assert "direct cause" in explained
    assert "frozen" not in explained


def test_an_attribute_that_failed_while_it_was_looked_up_keeps_its_traceback(write: Write) -> None:
    write("one.py", "class Site:\n    @property\n    def app(self): return None.x\nsite = Site()\n")
    assert "'NoneType' object has no attribute 'x'" in explain_failure(refusal("one:site.app"))


def test_a_mistake_is_explained_without_a_traceback() -> None:
    explained = explain_failure(refusal("nowhere:app"))
    assert explained.startswith("No module named 'nowhere'")
    assert "Traceback" not in explained


def test_a_removed_working_directory_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "Working directory: not readable" in explain_failure(refusal("nowhere:app"))
    assert "There is no file x.wsgi" in str(refusal("x.wsgi"))
