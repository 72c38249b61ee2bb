"""`make bench`: what the controller costs. Controller, API server and referee are three processes."""
