"""A churn-prediction service under realistic traffic and faults, to try the detector on."""
