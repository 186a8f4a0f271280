"""--preload: the application is loaded once per generation, and its workers are forked from there.

And the other ends of a worker's life that the supervisor plans: it is replaced when it has had its
time, its successor first.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gateways.config import Config
from gateways.core.keeping import Keeping
from gateways.process.change import Change
from gateways.process.channel import Channel
from gateways.process.member import Generation, Plan, Spec, Worker
from gateways.process.notify import Notifier
from gateways.process.privileges import Privileges
from gateways.process.scoreboard import Scoreboard
from gateways.process.supervisor import Supervisor
from tests.process.running import Running, running, write_application, zombies_of
from tests.servers.harness import children_of, has_ended, wait_until

OWN, PRELOAD = (), ("--preload",)
BOTH = pytest.mark.parametrize("options", [OWN, PRELOAD], ids=["own", "preload"])


def imports(server: Running) -> list[str]:
    """The processes that have imported the application, with the version that they got."""
    return (server.folder / "imports").read_text().splitlines()


def template_of(server: Running) -> int:
    """The child of the supervisor that is no worker."""
    known = {worker["pid"] for worker in server.status()["workers"]}
    (template,) = set(children_of(server.pid)) - known
    return template


def test_the_application_is_imported_once_per_generation(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "3", "--preload") as server:
        assert imports(server) == [f"{template_of(server)} 1"]
        write_application(tmp_path, version="2")
        assert server.reload().returncode == 0
        server.wait_for_workers(3)
        assert [line.split()[1] for line in imports(server)] == ["1", "2"]
        assert server.get().version == "2"
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait_for_log("has ended unexpectedly")
        server.wait_for_workers(3)
        assert len(imports(server)) == 2


def test_without_it_every_worker_imports_the_application(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2") as server:
        assert sorted(imports(server)) == sorted(f"{pid} 1" for pid in server.workers())


def test_the_workers_are_children_of_the_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2", "--preload") as server:
        workers = server.workers()
        assert set(workers) < set(children_of(server.pid))
        assert children_of(template_of(server)) == []


def test_workers_share_what_the_application_holds(tmp_path: Path) -> None:
    source = (
        "HELD = [bytes([n % 256]) * 4096 for n in range(15_000)]\n"  # 60 MB
        "def app(environ, start_response):\n"
        "    text = open('/proc/self/smaps_rollup').read()\n"
        "    own = sum(int(line.split()[1]) for line in text.splitlines()\n"
        "              if line.startswith('Private_'))\n"
        "    start_response('200 OK', [])\n"
        "    return [str(own).encode()]\n"
    )
    with running(tmp_path, "-w", "2", "--preload", source=source) as server:
        assert int(server.get().text) < 20_000  # KiB
    for path in tmp_path.glob("log-*"):
        path.unlink()
    with running(tmp_path, "-w", "1", source=source) as server:
        assert int(server.get().text) > 50_000


def test_a_killed_template_is_missed_by_the_next_worker_only(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2", "--preload") as server:
        first, second = server.workers()
        os.kill(template_of(server), signal.SIGKILL)
        server.wait_for_log("the next worker brings a new one")
        assert server.workers() == [first, second]
        assert server.get().status == 200
        os.kill(first, signal.SIGKILL)
        server.wait_for_log("has ended unexpectedly")
        after = server.wait_for_workers(2)
        assert second in after
        assert set(after) < set(children_of(server.pid))
        assert not zombies_of(server.pid)
        assert template_of(server)


def test_a_template_does_not_outlive_its_generation(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "2", "--preload") as server:
        template = template_of(server)
        assert server.reload().returncode == 0
        wait_until(lambda: has_ended(template), "the template of the first generation has ended")
        server.wait_for_workers(2)
        assert template_of(server) != template


# -- planned replacements ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "limit", "value", "path"),
    [
        # Whatever the reason, the successor is started in the same way.
        (PRELOAD, "--max-requests", "50", "/"),
        (OWN, "--max-requests", "50", "/"),
        (OWN, "--max-lifetime", "1", "/"),
        (OWN, "--max-rss", "100m", "/hold/100"),
    ],
)
def test_a_worker_that_has_had_its_time_is_replaced_its_successor_first(
    tmp_path: Path, options: tuple[str, ...], limit: str, value: str, path: str
) -> None:
    with running(tmp_path, "-w", "1", limit, value, *options) as server:
        (first,) = server.workers()
        assert server.get(path).pid == first
        for _ in range(100_000):
            answer = server.get()
            assert answer.status == 200
            if answer.pid != first:
                break
        assert answer.pid != first, server.log
        assert limit in server.log
        assert "its successor is started first" in server.log
        server.wait_until(lambda: first not in server.status()["workers"], "it has left")


def test_an_idle_worker_is_replaced_too(tmp_path: Path) -> None:
    with running(tmp_path, "-w", "1", "--max-lifetime", "0.5") as server:
        (first,) = server.workers()
        server.wait_until(lambda: first not in server.workers(), "it was replaced")
        assert server.get().status == 200


@BOTH
def test_a_successor_that_cannot_be_started_leaves_the_predecessor(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    broken = "import os\nif os.path.exists('broken'): raise RuntimeError('no more')\n"
    hook = tmp_path / "gateways.toml"
    hook.write_text('[hooks]\npost_fork = "hook:post_fork"\n')
    (tmp_path / "hook.py").write_text(f"def post_fork(process):\n    exec({broken!r})\n")
    with running(tmp_path, "-w", "1", *options) as server:
        (first,) = server.workers()
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGTERM)
        server.wait_for_log("a worker could not be started")
        assert server.get().pid == first
        (tmp_path / "broken").unlink()
        server.wait_until(lambda: server.get().pid != first, "it is replaced in the end")


def test_the_end_of_a_worker_that_was_never_forked_is_heard_when_others_are_reaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its line closes with its template, maybe just before that is reaped: nobody looks again."""
    monkeypatch.setattr("gateways.process.supervisor.reap", list)  # what is ours here is pytest's
    problems: list[str] = []
    config = Config(preload=True)
    plan = Plan(
        reference="app:app",
        config=config,
        listeners=(),
        directory=".",
        notifier=Notifier({}),
        keeping=Keeping.new(),
    )
    board = Scoreboard(1, config.threads)
    spec = Spec(
        generation=1,
        reference=plan.reference,
        config=config,
        privileges=Privileges.from_config(config),
        listeners=(),
        board=board,
        keeping=plan.keeping,
        supervisor=0,
    )
    generation = Generation(spec)
    supervisor = Supervisor(plan)
    fleet = supervisor._fleet
    ours, theirs = Channel.pair()
    worker = Worker(generation, ours, 0, 0.0, 0)
    change = Change(generation, 1, problems.append)
    change.successors.append(worker)
    fleet.members.append(worker)
    fleet.changes.append(change)
    theirs.close()
    supervisor._reap()
    plan.keeping.close()
    supervisor._signals.restore()
    assert (fleet.members, fleet.changes) == ([], [])
    assert "ended before it could serve" in problems[0]
