"""The page, the admin, and the files where no web server serves them."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import path
from django.views.static import serve

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("admin/", admin.site.urls),
]
if settings.SERVES_FILES:
    urlpatterns += [
        path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
        path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
    ]
