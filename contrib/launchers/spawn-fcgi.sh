#!/bin/sh
# One process, in the foreground, that spawn-fcgi becomes: for runit, s6, daemontools, a container.
# The socket is spawn-fcgi's: it stays when the process leaves, and who starts this anew makes it anew.
#
# @SOCKET@ is what the web server connects to, @DIRECTORY@ where the application lies, @GATEWAYS@ the
# command (/srv/yourapplication/.venv/bin/gateways), @APPLICATION@ its name (yourapplication:app).

cd @DIRECTORY@ || exit 1
exec spawn-fcgi -n -s @SOCKET@ -M 0666 -- @GATEWAYS@ fcgi @APPLICATION@
