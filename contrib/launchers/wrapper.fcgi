#!/bin/sh
# What mod_fcgid (as its script) and lighttpd (as bin-path) start: one process on descriptor 0, without
# a script in Python. Executable for the web server's user, who must also reach the command.
#
# @DIRECTORY@ is where the application lies, @GATEWAYS@ the command
# (/srv/yourapplication/.venv/bin/gateways), @APPLICATION@ its name (yourapplication:app).

cd @DIRECTORY@ || exit 1
# exec: the web server's signals must reach the server and not the shell.
exec @GATEWAYS@ fcgi @APPLICATION@
