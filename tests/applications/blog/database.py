"""The database: one connection per request, the tables made when the application starts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from flask import Flask, current_app, g

_TABLES = """
CREATE TABLE IF NOT EXISTS author (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE NOT NULL,
    password TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS post (
    id INTEGER PRIMARY KEY,
    author_id INTEGER NOT NULL REFERENCES author (id),
    written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    title TEXT NOT NULL,
    text TEXT NOT NULL
);
"""


def _path() -> Path:
    return Path(current_app.instance_path, "blog.sqlite")


def connection() -> sqlite3.Connection:
    """The connection of the request that is being answered."""
    if "connection" not in g:
        g.connection = sqlite3.connect(_path(), timeout=30)
        g.connection.row_factory = sqlite3.Row
    opened: sqlite3.Connection = g.connection
    return opened


def _close(error: BaseException | None) -> None:
    opened = g.pop("connection", None)
    if opened is not None:
        opened.close()


def init_app(app: Flask) -> None:
    """Make the tables that are missing, and have connections closed with their requests."""
    app.teardown_appcontext(_close)
    with app.app_context():
        connection().executescript(_TABLES)
