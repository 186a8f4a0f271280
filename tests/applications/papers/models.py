"""A paper: a title and a file."""

from __future__ import annotations

from django.db import models


class Paper(models.Model):
    """One paper of the archive."""

    title = models.CharField(max_length=100)
    file = models.FileField(upload_to="papers/")
    published = models.BooleanField(default=True)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-added",)

    def __str__(self) -> str:
        return str(self.title)
