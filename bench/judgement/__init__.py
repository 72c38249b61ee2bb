"""How often the judges are wrong about healthy canaries, and how soon they are right about bad ones: `make judge-report`."""
