"""Scoring of one slide, one project or a batch; joins the other packages."""
