"""`canary sandbox`: a cluster that stays up in the background, and is resumed where it was.

folder      what lies on disk: the lock that says who is up, the report, the state     knows no cluster
launch      start the supervisor and follow it, end it                                 for the CLI
client      ask a supervisor that is up                                                for the CLI
supervisor  the process that is the cluster
control     what it can be asked while it runs
world       the example that a newcomer finds
rights      the controller's rights, as deploy/ declares them
"""
