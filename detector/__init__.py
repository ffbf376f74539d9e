"""Anomaly detection for Prometheus: learn what is normal, say what is not."""
