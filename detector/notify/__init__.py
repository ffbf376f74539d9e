"""`detector notify`: Alertmanager's webhooks become messages with a picture and an explanation."""
