"""Codecs against wire vectors: no socket, no clock, no thread."""
