"""Which installations of gateways are measured, and what they and this machine are."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import BenchmarkError

_ROOT = Path(__file__).resolve().parent.parent
_FLAGS = (
    "import sysconfig\n"
    "print(sysconfig.get_config_var('CONFIG_ARGS'), sysconfig.get_config_var('PY_CFLAGS'))"
)


@dataclasses.dataclass(frozen=True)
class Build:
    """One installation."""

    program: Path  # its ``gateways``
    kind: str  # compiled or pure
    version: str

    @property
    def python(self) -> Path:
        """The interpreter beside it."""
        return self.program.with_name("python")

    def packages(self) -> Path:
        """The directory that holds its ``gateways``, for scripts of another interpreter."""
        found = first_line([str(self.python), "-c", "import gateways; print(*gateways.__path__)"])
        return Path(found).parent


def find_build(environment: Path) -> Build:
    """The installation in a virtual environment, which says itself what it is."""
    program = environment.absolute() / "bin" / "gateways"
    version = first_line([str(program), "--version"])
    if not version.startswith("gateways "):
        raise BenchmarkError(f"{program} cannot be run: {version or 'no such file'}")
    return Build(program, "pure" if "pure Python" in version else "compiled", version)


def find_builds(given: Sequence[Path] | None) -> tuple[list[Build], list[str]]:
    """What to measure, and a remark for each that cannot be."""
    found: dict[str, Build] = {}
    remarks = []
    for environment in given or [_ROOT / ".venv-compiled", _ROOT / ".venv-pure"]:
        try:
            build = find_build(environment)
        except BenchmarkError as error:
            remarks.append(f"no gateways of {environment.name}: {error}")
            continue
        if build.kind in found:
            remarks.append(f"{environment.name} is {build.kind} as well, and left out")
        found.setdefault(build.kind, build)
    return [found[kind] for kind in ("compiled", "pure") if kind in found], remarks


def describe_python(python: Path) -> str:
    """The interpreter, and how it was compiled, for whoever compares figures of two machines."""
    flags = first_line([str(python), "-c", _FLAGS])
    found = [
        f"{'with' if flag in flags else 'without'} {name}"
        for flag, name in (("--enable-optimizations", "PGO"), ("--with-lto", "LTO"))
    ]
    return f"{first_line([str(python), '--version'])}, {' and '.join(found)}"


def describe_machine() -> str:
    """Processor, kernel and distribution."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return f"{model}, {os.cpu_count()} cores; {system}, Linux {platform.release()}"


def describe_tools() -> list[str]:
    """What else takes part, with its version; what is not installed is left out."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    found = [
        first_line([shutil.which("nginx", path=path) or "nginx", "-v"]),
        first_line(["wrk", "-v"]).partition(" [")[0],
    ]
    compiler = first_line([os.environ.get("CC") or "cc", "--version"])
    if compiler:
        found.append(f"floor compiled by {compiler}")
    return [line for line in found if line]


def first_line(command: list[str]) -> str:
    """What a program says first, on either output; nothing where it cannot be run."""
    try:
        result = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    except OSError:
        return ""
    output = (result.stdout + result.stderr).strip()  # nginx prints it on the latter
    return output.partition("\n")[0]
