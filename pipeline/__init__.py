"""Sightline: the improvement cycle for video-analytics detectors."""
