"""Encoders: frozen networks that turn a tile into a vector of features."""
