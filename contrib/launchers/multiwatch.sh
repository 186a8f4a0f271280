#!/bin/sh
# spawn-fcgi makes the socket, multiwatch starts two processes on it and starts each again that leaves.
#
# @SOCKET@ is what the web server connects to, @DIRECTORY@ where the application lies, @GATEWAYS@ the
# command (/srv/yourapplication/.venv/bin/gateways), @APPLICATION@ its name (yourapplication:app).

cd @DIRECTORY@ || exit 1
# spawn-fcgi wants whole paths.
# A child that leaves within --timeout milliseconds counts as failed, and after the third one (--retry)
# multiwatch ends all. One that dies of its requests, time and again, may do so within the default, 10 s.
exec spawn-fcgi -n -s @SOCKET@ -M 0666 -- "$(command -v multiwatch)" --forks=2 --timeout=500 -- \
    @GATEWAYS@ fcgi @APPLICATION@
