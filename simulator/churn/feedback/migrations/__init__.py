"""The migrations of the feedback database."""
