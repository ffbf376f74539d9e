"""A churn-prediction service under realistic traffic and faults, to try and test the detector on."""
