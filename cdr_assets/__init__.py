"""Keeps the Call Detail Reports of an EnableX video account, and counts them per room and conference."""
