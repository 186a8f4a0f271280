"""The page that everybody sees."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .models import Paper


def index(request: HttpRequest) -> HttpResponse:
    """The published papers, each with a link to its file."""
    papers = Paper.objects.filter(published=True)
    return render(request, "papers/index.html", {"papers": papers})
