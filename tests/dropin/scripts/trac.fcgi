# Trac's fcgi_frontend: flup if it is there, and a wrapper for what flup does not decode.
try:
    from flup.server.fcgi import WSGIServer
    use_flup = True
except ImportError:
    use_flup = False
from urllib.parse import unquote

from visitors import application as dispatch_request

class FlupMiddleware(object):
    """Flup doesn't URL-decode the PATH_INFO."""
    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        environ['PATH_INFO'] = unquote(environ.get('PATH_INFO', ''))
        return self.application(environ, start_response)

params = {}
if use_flup:
    dispatch_request = FlupMiddleware(dispatch_request)
    params['maxThreads'] = 15

def run():
    WSGIServer(dispatch_request, **params).run()

if __name__ == '__main__':
    run()
