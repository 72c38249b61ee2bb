#!/bin/sh
# Make `prometheus` and `promtool` available; see unpack.sh.
exec sh "$(dirname -- "$0")/unpack.sh" prometheus CANARY_PROMETHEUS \
    "type 'apt-get install prometheus' or 'brew install prometheus', or unpack a release from the Prometheus download page" \
    promtool prometheus
