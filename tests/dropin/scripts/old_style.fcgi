# Of the days of Python 2: text is yielded, heads are bytes, write() is called.
from flup.server.fcgi import WSGIServer

def myapp(environ, start_response):
    if environ['PATH_INFO'] == '/missing':
        write = start_response(b'404 Not Found', [(b'Content-Type', b'text/plain')])
        write('not ')
        return ['h\xe9re']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/fail':
        return 'Hello'
    def pieces():
        yield 'Hello '
        yield ''
        yield b'W\xf6rld\n'
        yield environ['QUERY_STRING']
    return pieces()

WSGIServer(myapp, bindAddress='@SOCKET@').run()
