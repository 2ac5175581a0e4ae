"""Tables that users bring (scores and follow-up), and the tables that we export.

Training and survival both begin with these tables, so this package lies below both. It does not
know slides, QuPath or networks, and it computes no statistics.
"""
