"""The compiled build; everything else about the package is in setup.cfg.

The modules of the request path are plain Python. Where a C compiler is there, Cython makes
extension modules of these same files, with the C types that the ``.pxd`` files beside them declare;
where there is none, or it fails, the files are installed as they are. Environment variables:

- ``GATEWAYS_PURE=1``: do not try.
- ``GATEWAYS_REQUIRE_COMPILED=1``: fail rather than install the plain files.

An editable install stays pure, so that nobody edits a file that is not the one that runs.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# All or none of them are compiled: they use each other's C types.
COMPILED = [
    "gateways.core.acceptor",
    "gateways.core.clock",
    "gateways.core.connection",
    "gateways.core.gate",
    "gateways.core.host",
    "gateways.core.httpdate",
    "gateways.core.openfile",
    "gateways.core.poller",
    "gateways.core.reception",
    "gateways.core.recorder",
    "gateways.core.sendqueue",
    "gateways.core.syscalls",
    "gateways.core.transport",
    "gateways.core.workers",
    "gateways.protocols.auto",
    "gateways.protocols.base",
    "gateways.protocols.chunked",
    "gateways.protocols.familiar",
    "gateways.protocols.fastcgi",
    "gateways.protocols.fastcgi_bodies",
    "gateways.protocols.fastcgi_response",
    "gateways.protocols.fastcgi_state",
    "gateways.protocols.forwarded",
    "gateways.protocols.head",
    "gateways.protocols.http",
    "gateways.protocols.http_head",
    "gateways.protocols.http_known",
    "gateways.protocols.http_request",
    "gateways.protocols.http_response",
    "gateways.protocols.limits",
    "gateways.protocols.oneshot",
    "gateways.protocols.records",
    "gateways.protocols.scgi",
    "gateways.protocols.uwsgi",
    "gateways.protocols.variables",
    "gateways.wsgi.body",
    "gateways.wsgi.channel",
    "gateways.wsgi.environ",
    "gateways.wsgi.errorlog",
    "gateways.wsgi.headers",
    "gateways.wsgi.runner",
]

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for mypy; the .pxd files alone decide C types
    "binding": False,  # functions are C functions, not objects that mimic Python's
    "auto_pickle": False,
    "always_allow_keywords": True,
}
# Without stubs between a call and its target, a request misses the instruction cache less often: by
# a twelfth, as counted by callgrind. Much of its time is spent on that.
FLAGS = ["-O2", "-g0", "-fno-plt"]


def _is_wanted() -> bool:
    if os.environ.get("GATEWAYS_PURE", "0") not in ("", "0"):
        return False
    return not {"editable_wheel", "develop"}.intersection(sys.argv)


def _is_required() -> bool:
    return os.environ.get("GATEWAYS_REQUIRE_COMPILED", "0") not in ("", "0")


# The folders of contrib/ that `gateways config` fills in; a checkout has them beside the package.
TEMPLATES = ["apache", "caddy", "haproxy", "lighttpd", "nginx", "supervisor", "systemd"]


class BuildWithTemplates(build_py):
    """Puts them into the package that is installed."""

    def run(self) -> None:
        """The modules, then the templates."""
        super().run()
        if self.editable_mode:
            return
        for name in TEMPLATES:
            target = Path(self.build_lib, "gateways", "contrib", name)
            shutil.copytree(Path("contrib", name), target, dirs_exist_ok=True)


class BuildCompiled(build_ext):
    """Compiles all modules or, where that fails, none."""

    def finalize_options(self) -> None:
        """Compile on all cores."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1

    def run(self) -> None:
        """Python to C, C to extension modules."""
        try:
            self._compile()
        except BaseException as error:
            if _is_required() or isinstance(error, KeyboardInterrupt):
                raise
            print(
                f"gateways: cannot be compiled, so it stays pure Python: {error}", file=sys.stderr
            )
            self._stay_pure()

    def _compile(self) -> None:
        from Cython.Build import cythonize

        translated = cythonize(
            self.extensions,
            build_dir=self.build_temp,
            nthreads=int(self.parallel),
            compiler_directives=DIRECTIVES,
        )
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().run()

    def _stay_pure(self) -> None:
        for extension in self.extensions:
            Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
        self.extensions = self.distribution.ext_modules = []
        wheel: Any = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True  # its tag says so: py3-none-any


def _extensions() -> list[Extension]:
    return [Extension(name, [_source(name)], extra_compile_args=FLAGS) for name in COMPILED]


def _source(name: str) -> str:
    """The ``.py`` file, but for the one module that calls C functions."""
    path = name.replace(".", "/")
    return path + (".pyx" if os.path.exists(path + ".pyx") else ".py")


if __name__ == "__main__":
    setup(
        ext_modules=_extensions() if _is_wanted() else [],
        cmdclass={"build_ext": BuildCompiled, "build_py": BuildWithTemplates},
    )
