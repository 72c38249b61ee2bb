# What the scripts that unpack a distribution's packages share; they read it with `.`.

# Run a command; where it fails, once more after an update of apt's lists: they are missing, or older than what the mirror still serves.
# Only root may update them. What apt says goes into the file $log.
with_lists() {
    "$@" >"$log" 2>&1 && return
    [ "$(id -u)" -eq 0 ] && apt-get -qq update >"$log" 2>&1 && "$@" >"$log" 2>&1
}
