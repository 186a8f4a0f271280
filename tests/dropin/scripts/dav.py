# WsgiDAV's application, served as its server_cli did: the version is shown, the mode chooses the module.
import sys

def _run_flup(app, config, mode):
    """Run WsgiDAV using flup.server.fcgi, if Flup is installed."""
    if mode == "flup-fcgi":
        from flup.server.fcgi import WSGIServer, __version__ as flupver
    elif mode == "flup-fcgi-fork":
        from flup.server.fcgi_fork import WSGIServer, __version__ as flupver
    else:
        raise ValueError
    sys.stderr.write("Running WsgiDAV flup/%s...\n" % flupver)
    server = WSGIServer(
        app,
        bindAddress=(config["host"], config["port"]),
    )
    try:
        server.run()
    except KeyboardInterrupt:
        sys.stderr.write("Caught Ctrl-C, shutting down...\n")

if __name__ == "__main__":
    from wsgidav.wsgidav_app import WsgiDAVApp
    app = WsgiDAVApp({
        "provider_mapping": {"/": "@FOLDER@/dav"},
        "simple_dc": {"user_mapping": {"*": True}},
        "lock_storage": True,
        "property_manager": True,
        "verbose": 1,
    })
    _run_flup(app, {"host": "127.0.0.1", "port": @PORT@}, "flup-fcgi")
