"""The churn-prediction service: model, HTTP interface and the metrics it emits."""
