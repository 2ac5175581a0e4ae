"""Tables that users bring: read as text, their columns found, scores and follow-up understood.

Training and survival both begin with these tables, so the room lies below both. It knows no slides,
no QuPath and no network, and computes no statistics.
"""
