"""Papers in the admin."""

from __future__ import annotations

from django.contrib import admin

from .models import Paper


@admin.register(Paper)
class PaperAdmin(admin.ModelAdmin):
    """A list to search and to filter."""

    list_display = ("title", "file", "published", "added")
    list_filter = ("published", "added")
    search_fields = ("title",)
    date_hierarchy = "added"
