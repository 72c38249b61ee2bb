"""`make bench`: what the controller costs. Controller, API server and harness are three processes."""
