"""The extension for QuPath's window: its jar, where QuPath looks for it, what it runs."""
