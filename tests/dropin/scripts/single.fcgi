# One request at a time; imported from its package.
from flup.server import fcgi_single
from visitors import application

fcgi_single.WSGIServer(application, {"mine": "2"}, "@SOCKET@", 0o077).run()
