"""Who writes: registration, login, logout."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import ParamSpec

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from .database import connection

P = ParamSpec("P")

blueprint = Blueprint("accounts", __name__, url_prefix="/accounts")


@blueprint.before_app_request
def _who_asks() -> None:
    query = "SELECT id, name FROM author WHERE id = ?"
    g.author = connection().execute(query, (session.get("author"),)).fetchone()


def login_required(
    view: Callable[P, ResponseReturnValue],
) -> Callable[P, ResponseReturnValue]:
    """The view for those who are logged in; the others are sent to the login, and back."""

    @functools.wraps(view)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if g.author is None:
            return redirect(url_for("accounts.login", back=request.script_root + request.path))
        return view(*args, **kwargs)

    return wrapped


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    if request.method == "POST":
        name, password = request.form["name"].strip(), request.form["password"]
        if not name or not password:
            flash("A name and a password are needed.")
        else:
            # Cheap: dozens of registrations a test run, and nothing to guard.
            row = (name, generate_password_hash(password, "pbkdf2:sha256:1000"))
            try:
                with connection() as transaction:
                    transaction.execute("INSERT INTO author (name, password) VALUES (?, ?)", row)
            except sqlite3.IntegrityError:
                flash(f"{name} is registered already.")
            else:
                flash(f"Welcome, {name}.")
                return redirect(url_for(".login"))
    return render_template("accounts/form.html", title="Register")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    if request.method == "POST":
        query = "SELECT id, password FROM author WHERE name = ?"
        author = connection().execute(query, (request.form["name"],)).fetchone()
        if author and check_password_hash(author["password"], request.form["password"]):
            session.clear()
            session["author"] = author["id"]
            back = request.args.get("back", "")
            # Never to another host.
            inside = back.startswith("/") and not back.startswith("//")
            return redirect(back if inside else url_for("posts.index"))
        flash("Unknown name or wrong password.")
    return render_template("accounts/form.html", title="Log in")


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for("posts.index"))
