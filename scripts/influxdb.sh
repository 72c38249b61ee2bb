#!/bin/sh
# Make `influxd` available to the tests; see unpack.sh.
exec sh "$(dirname -- "$0")/unpack.sh" influxdb CANARY_INFLUXD "unpack a 1.x release of InfluxDB" influxd
