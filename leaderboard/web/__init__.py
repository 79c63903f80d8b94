"""The board as one HTML page that needs nothing else: no network, no other file but the records it links to."""
