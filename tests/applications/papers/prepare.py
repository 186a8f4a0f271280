"""What the owner of the site does once: tables, static files, an account for the admin.

One process, where three commands of manage.py would start Django three times.
"""

from __future__ import annotations

import os

import django
from django.core.management import call_command

EDITOR = "editor"
PASSWORD = "zoë's papers"

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "papers.settings"
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    call_command(
        "createsuperuser", interactive=False, verbosity=0, username=EDITOR, email="e@example.test"
    )
