"""The models, each behind one contract: fit, then score step by step."""
