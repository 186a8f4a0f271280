"""Worker processes for a script that has loaded its application itself.

They are forked from the script's process as it is, so a reload would find the old code: SIGHUP has
them leave, and the script's caller is told, as with one process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from gateways.config import Config
from gateways.core.keeping import Keeping
from gateways.core.listener import Listener
from gateways.core.server import Server
from gateways.process.control import Control, control_path
from gateways.process.member import Plan
from gateways.process.notify import Notifier
from gateways.process.pidfile import PidFile
from gateways.process.supervisor import Supervisor


def serve_forked(
    make_server: Callable[..., Server],
    listeners: Sequence[Listener],
    config: Config,
    script: str,
    *,
    pidfile: PidFile | None = None,
    started: Callable[[], None] = lambda: None,
) -> bool:
    """Serve until a signal ends it; True if that was one that asks for a restart.

    ``make_server`` is called in each worker, with what stops all of them. ``started`` is called
    when they serve. SystemExit where no worker comes up.
    """
    control = None
    leftovers = []
    if pidfile is not None:
        control = Control(control_path(config.pidfile))
        leftovers = [control.remove_file, pidfile.remove_leftover]
    supervisor = Supervisor(
        Plan(
            reference=script,
            config=config,
            listeners=listeners,
            directory=os.getcwd(),
            notifier=Notifier(os.environ),
            keeping=Keeping.new(),
            pidfile=pidfile,
            control=control,
            leftovers=leftovers,
            stops_on_usr1=config.sigusr1 != "reopen",
            started=started,
            failed=_say,
            make_server=make_server,
        )
    )
    status = supervisor.run()
    if status:
        raise SystemExit(status)
    return supervisor.restarts


def _say(_status: int, text: str) -> None:
    print(text.rstrip("\n"), file=sys.stderr)
