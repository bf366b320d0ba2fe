# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Network namespaces by name, the plain operations the lab is made of.
#
# Every namespace made here carries its owner's mark as the alias of its loopback device, so that nothing but our own is
# ever listed or removed, and no state is kept anywhere else.

netns_mark=culvert-lab

netns_exists() { [[ -e /run/netns/$1 ]]; }

# Only the network is entered: /sys/fs/bpf and the cgroups stay the host's, which `ip netns exec` would hide.
netns_run() {
    local name=$1
    shift
    nsenter --net="/run/netns/$name" -- "$@"
}

# Makes it, marks it, and gives it loopback. IPv6 addresses are usable at once: nobody else is there to have them twice.
netns_make() {
    ip netns add "$1"
    netns_batch "$1" <<-END
	link set lo alias $netns_mark
	link set lo up
	END
    netns_sysctl "$1" net/ipv6/conf/all/accept_dad=0 net/ipv6/conf/default/accept_dad=0 \
        net/ipv6/conf/default/accept_ra=0
}

# Commands for ip(8) from standard input, in one process.
netns_batch() { ip -n "$1" -batch -; }

# netns_sysctl NAME path/of/key=value...
netns_sysctl() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # expanded inside the namespace
    netns_run "$name" bash -c 'for set; do echo "${set#*=}" >"/proc/sys/${set%%=*}" || exit; done' sysctl "$@"
}

# Ours, or the empty shell of one that was killed while it was being made.
netns_is_ours() {
    local links
    links=$(ip -n "$1" -o link show 2>/dev/null) || return 1
    [[ $links == *"alias $netns_mark"* ]] || [[ $(wc -l <<<"$links") == 1 && $links == *LOOPBACK* && $links != *LOWER_UP* ]]
}

# Ends what runs in it (politely, then not), and removes it. Processes outside are never looked at.
netns_remove() {
    local name pid tries
    for name; do
        for pid in $(ip netns pids "$name"); do kill -TERM "$pid" 2>/dev/null || true; done
    done
    for name; do
        for ((tries = 0; tries < 30; tries++)); do
            [[ $(ip netns pids "$name") ]] || break
            sleep 0.1
        done
        for pid in $(ip netns pids "$name"); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns del "$name"
    done
}
