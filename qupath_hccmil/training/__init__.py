"""Training and evaluation of both models on a user's data; joins the other packages."""
