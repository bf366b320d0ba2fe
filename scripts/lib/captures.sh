# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# The demo's two captures: whether rules can work here, and from one capture to the other.

# Whether the kernel has what the rules are made of, tried in a namespace that nobody else sees. Why not is in `why`.
iptables_works() {
    local kind=${FORCE_IPTABLES_BINARY:-nft}
    why=$(unshare --net bash -e -s "$kind" 2>&1 <<-'END'
	for family in ip ip6; do
	    ${family}tables-"$1" -t mangle -A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark
	    ${family}tables-"$1" -t nat -A OUTPUT -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
	done
	ipset create pods hash:ip
	iptables-"$1" -t nat -A POSTROUTING -p tcp -m owner --socket-exists -m set --match-set pods dst \
	    -j SNAT --to-source 169.254.7.127
	END
    ) && return
    why=${why%%$'\n'*}
    why=${why#bash: line ?: }
    return 1
}

# The other capture takes the same pods, once nothing of the first is left in them.
switch_to() {
    local node broken=${#promises_broken[@]}
    say "   both daemons end; culvertd cleanup; the same files again, but for 'capture: $1'"
    for node in 1 2; do kill -TERM "$(<"$run/n$node.pid")" 2>/dev/null || true; done
    for node in 1 2; do promise "culvertd of node $node has ended" eventually 15 culvertd_has_ended "$node"; done
    for node in 1 2; do "$culvertd" cleanup "$lab-n$node" >>"$run/cleanup.log" 2>&1 9>&- || true; done
    promise "of $capture nothing is left in pods and nodes: no link, no rule, no record" nothing_is_captured
    capture=$1
    start_daemons
    ((${#promises_broken[@]} == broken))
}

culvertd_has_ended() { ! kill -0 "$(<"$run/n$1.pid")" 2>/dev/null; }

nothing_is_captured() {
    local netns left
    for netns in "${mesh_pods[@]}" n1 n2; do
        left=$(netns_holds "$netns")
        [[ $left == "0 ip rules, 0 iptables rules" ]] || { why="$netns has $left"; return 1; }
    done
    left=$(compgen -G "/sys/fs/bpf/culvert/$lab-*" || true; compgen -G "/run/culvert/$lab-*" || true)
    why=${left//$'\n'/ }
    [[ ! $left ]]
}

ip_rules() { { ip -n "$lab-$1" rule show; ip -n "$lab-$1" -6 rule show; } | grep -cE '^(110|111|112):' || true; }

# Of all kinds and families; the old kind is only asked for tables that exist, for it would make them.
iptables_rules() {
    # shellcheck disable=SC2016 # expanded inside the namespace
    in_pod "$1" bash -c 'for kind in ip ip6; do
        ${kind}tables-nft-save 2>/dev/null
        [[ ! $(cat /proc/net/${kind}_tables_names 2>/dev/null) ]] || ${kind}tables-legacy-save 2>/dev/null
    done' | grep -c '^-A' || true
}

netns_holds() { printf '%s ip rules, %s iptables rules' "$(ip_rules "$1")" "$(iptables_rules "$1")"; }
