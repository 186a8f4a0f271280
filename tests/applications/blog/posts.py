"""What is written: the list, the feed, one post, and the forms that write, change and delete it."""

from __future__ import annotations

import sqlite3

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from .accounts import login_required
from .database import connection

blueprint = Blueprint("posts", __name__)

_SELECT = """
SELECT post.id, post.title, post.text, post.written, post.author_id, author.name AS author
FROM post JOIN author ON author.id = post.author_id
"""


@blueprint.get("/")
def index() -> str:
    posts = connection().execute(f"{_SELECT} ORDER BY post.id DESC").fetchall()
    return render_template("posts/index.html", posts=posts)


@blueprint.get("/feed.xml")
def feed() -> Response:
    """The same for programs, with addresses that are complete."""
    posts = connection().execute(f"{_SELECT} ORDER BY post.id DESC").fetchall()
    response = make_response(render_template("posts/feed.xml", posts=posts))
    response.mimetype = "application/atom+xml"
    return response


@blueprint.get("/<int:number>/")
def show(number: int) -> str:
    return render_template("posts/post.html", post=_find(number))


@blueprint.route("/write", methods=["GET", "POST"])
@login_required
def write() -> ResponseReturnValue:
    if request.method == "POST" and _complete():
        row = (g.author["id"], request.form["title"], request.form["text"])
        with connection() as transaction:
            insert = "INSERT INTO post (author_id, title, text) VALUES (?, ?, ?)"
            number = transaction.execute(insert, row).lastrowid
        return redirect(url_for(".show", number=number))
    return render_template("posts/edit.html", title="Write", post=None)


@blueprint.route("/<int:number>/change", methods=["GET", "POST"])
@login_required
def change(number: int) -> ResponseReturnValue:
    post = _own(number)
    if request.method == "POST" and _complete():
        row = (request.form["title"], request.form["text"], number)
        with connection() as transaction:
            transaction.execute("UPDATE post SET title = ?, text = ? WHERE id = ?", row)
        return redirect(url_for(".show", number=number))
    return render_template("posts/edit.html", title="Change", post=post)


@blueprint.post("/<int:number>/delete")
@login_required
def delete(number: int) -> ResponseReturnValue:
    _own(number)
    with connection() as transaction:
        transaction.execute("DELETE FROM post WHERE id = ?", (number,))
    flash("It is gone.")
    return redirect(url_for(".index"))


def _complete() -> bool:
    if request.form["title"].strip():
        return True
    flash("A title is needed.")
    return False


def _find(number: int) -> sqlite3.Row:
    post: sqlite3.Row | None
    post = connection().execute(f"{_SELECT} WHERE post.id = ?", (number,)).fetchone()
    return post or abort(404)


def _own(number: int) -> sqlite3.Row:
    post = _find(number)
    if post["author_id"] != g.author["id"]:
        abort(403)
    return post
