# Trac itself, by the script that `trac-admin deploy` writes, with flup asked for.
import os
os.environ['TRAC_ENV'] = '@FOLDER@/trac'
os.environ['TRAC_USE_FLUP'] = '1'

try:
    from trac.web import fcgi_frontend
    fcgi_frontend.run()
except SystemExit:
    raise
except Exception as e:
    print('Content-Type: text/plain\r\n\r\n', end=' ')
    print('Oops...')
    print()
    print('Trac detected an internal error:')
    print()
    print(e)
    import traceback
    traceback.print_exc()
