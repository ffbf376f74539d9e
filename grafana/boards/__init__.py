"""The dashboards, one module each, made of `parts`."""
