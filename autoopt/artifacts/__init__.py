"""Artifacts and caches in a place that several machines share."""
