"""Reads manifests the way the API server and the controller will, before either sees them. Pure: text in, findings out.

findings   what is found, and where
source     YAML with the places of everything in it
schema     the JSON Schemas and CEL rules of our CRDs held against a document
checks     templates, arguments, queries and conditions of a Rollout or a template
world      objects by kind and name: those of the files, or those of a cluster
neighbours a Rollout next to its routes, Services, workloads and other Rollouts
live       the controller's own preflight on what a cluster says
run        all of it in order
report     for people, for GitHub, as JUnit, as JSON
sarif      for code scanning
catalogue  a sentence for each id that a finding can have
escape     text of strangers as it may stand in a report
"""

from __future__ import annotations
