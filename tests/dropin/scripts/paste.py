# What Paste Deploy calls for "use = egg:flup#fcgi_thread": all of its arguments are texts.
from flup.server.paste_factory import run_fcgi_thread
from visitors import application

run_fcgi_thread(application, {"debug": "false"}, socket="@SOCKET@", umask="0", maxThreads="3")
