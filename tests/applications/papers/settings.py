"""Settings as a small site has them. Its data is in the directory that ``PAPERS_DATA`` names."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ["PAPERS_DATA"])
# What a web server may serve by itself: static/ as collectstatic fills it, media/ as uploads do.
PUBLIC = DATA / "public"
# ``PAPERS_SERVES_FILES`` where no web server does so, and Django's own view must.
SERVES_FILES = "PAPERS_SERVES_FILES" in os.environ

SECRET_KEY = "not secret: it serves on the loopback interface alone"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]

ROOT_URLCONF = "papers.urls"
WSGI_APPLICATION = "papers.wsgi.application"
INSTALLED_APPS = [
    "papers",  # before the admin, of whose templates it has its own
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "papers.sqlite",
        "OPTIONS": {"timeout": 30},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Dozens of logins a test run, and nothing to guard.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_I18N = False
USE_TZ = True

# Without a slash in front Django puts the prefix of the site there.
STATIC_URL = "static/"
STATIC_ROOT = PUBLIC / "static"
MEDIA_URL = "media/"
MEDIA_ROOT = PUBLIC / "media"
