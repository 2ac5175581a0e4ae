"""Joins the rooms: one slide, one project, a batch."""
