# bottle itself, whose adapter for flup passes its options on.
import bottle

app = bottle.Bottle()

@app.route('/<path:path>', method=['GET', 'POST'])
def show(path):
    request = bottle.request
    if path == 'missing':
        bottle.abort(404, 'nothing here')
    return {'path': path, 'query': dict(request.query), 'body': request.body.read().decode('latin-1'),
            'word': request.get_header('X-Word'), 'multithread': request.environ['wsgi.multithread']}

bottle.run(app, server='flup', host='127.0.0.1', port=@PORT@, quiet=True)
