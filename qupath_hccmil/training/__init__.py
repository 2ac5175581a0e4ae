"""Training and evaluation of both models from what users have: joins the rooms, as scoring does."""
