"""Replays stored series through the live path and tells what they would have led to."""
