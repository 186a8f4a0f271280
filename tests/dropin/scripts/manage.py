# Django's runfcgi (1.8 and before): manage.py runfcgi method=prefork socket=… maxchildren=…
import importlib
import os
import sys

FASTCGI_OPTIONS = {
    "protocol": "fcgi",
    "host": None,
    "port": None,
    "socket": None,
    "method": "fork",
    "umask": None,
    "maxspare": 5,
    "minspare": 2,
    "maxchildren": 50,
    "maxrequests": 0,
}


def runfastcgi(argset):
    options = FASTCGI_OPTIONS.copy()
    for x in argset:
        k, v = x.split("=", 1) if "=" in x else (x, True)
        options[k.lower()] = v
    flup_module = "server." + options["protocol"]
    if options["method"] in ("prefork", "fork"):
        wsgi_opts = {
            "maxSpare": int(options["maxspare"]),
            "minSpare": int(options["minspare"]),
            "maxChildren": int(options["maxchildren"]),
            "maxRequests": int(options["maxrequests"]),
        }
        flup_module += "_fork"
    else:
        wsgi_opts = {
            "maxSpare": int(options["maxspare"]),
            "minSpare": int(options["minspare"]),
            "maxThreads": int(options["maxchildren"]),
        }
    wsgi_opts["debug"] = False
    try:
        module = importlib.import_module(".%s" % flup_module, "flup")
        WSGIServer = module.WSGIServer
    except Exception:
        print("Can't import flup." + flup_module)
        return False
    if options["host"] and options["port"] and not options["socket"]:
        wsgi_opts["bindAddress"] = (options["host"], int(options["port"]))
    elif options["socket"] and not options["host"] and not options["port"]:
        wsgi_opts["bindAddress"] = options["socket"]
    if options["umask"] is not None:
        wsgi_opts["umask"] = int(options["umask"], 8)
    from visitors import application

    WSGIServer(application, **wsgi_opts).run()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    runfastcgi(sys.argv[2:])
