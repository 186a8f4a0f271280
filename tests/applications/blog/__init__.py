"""A small blog: an application of the usual shape of Flask's, to be served as its owner would.

A factory, blueprints, SQLite, sessions, forms, flashed messages, templates and static files. It is
served by name from outside this package, so it imports nothing of it.
"""

from __future__ import annotations

import os

from flask import Flask

from . import accounts, database, posts


def create_app() -> Flask:
    """The application; its database is in the directory that ``BLOG_INSTANCE`` names."""
    app = Flask(__name__, instance_path=os.environ["BLOG_INSTANCE"])
    # One key for all processes: a session begun in one goes on in another.
    app.config.from_mapping(SECRET_KEY="not secret: it serves on the loopback interface alone")
    database.init_app(app)
    app.register_blueprint(accounts.blueprint)
    app.register_blueprint(posts.blueprint)
    return app
