# web.py itself, which looks for the word "fcgi" and an address among the script's own.
import web

urls = ('/(.*)', 'show')

class show:
    def GET(self, path):
        if path == 'missing':
            raise web.notfound('nothing here')
        if path == 'fail':
            raise RuntimeError('it fails')
        web.header('Content-Type', 'text/plain; charset=utf-8')
        web.header('X-Word', web.ctx.env['HTTP_X_WORD'])
        return 'Hello %s %r %r %s' % (path, web.ctx.query, web.data(), web.ctx.ip)

    POST = GET

if __name__ == '__main__':
    web.config.debug = False
    web.application(urls, globals()).run()
