/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Every map, one paragraph each. Pinned under <bpffs>/culvert/<instance>/ by name, but for cv_listeners, of which
 * every pod has its own, and cv_events, which is one daemon's. Bounds of 1 are set by capture before load.
 * bpf/README.md has the table.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <culvert/bpf/flow.h>
#include <culvert/bpf/pod.h>
#include <culvert/bpf/policy.h>
#include <culvert/bpf/reasons.h>
#include <culvert/bpf/sock.h>

/* Which layout these maps have. key: 0. writer: userspace. reader: the next daemon, people. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, __u32);
    __type(value, struct cv_schema);
    __uint(max_entries, 1);
} cv_schema __weak SEC(".maps");

/* Which pods are in the mesh. key: netns. writer: userspace. reader: all programs. At the bound: enrolling fails. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_pod_key);
    __type(value, struct cv_pod);
    __uint(max_entries, 1);
} cv_pods __weak SEC(".maps");

/* Every address on every interface of a pod, link-local and secondary ones too. key: netns, family, address.
 * writer: userspace, by netlink events. reader: sockops, sk_lookup, guard. At the bound (64 a pod): the address is
 * not known as the pod's own, so connections to it from outside are dropped, and userspace warns. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_own_ip_key);
    __type(value, struct cv_own_ip);
    __uint(max_entries, 1);
} cv_own_ips __weak SEC(".maps");

/* Whose a global address is. key: family, address. writer: userspace. reader: sockops, for probes and for
 * what stays on the node. At the bound: as cv_own_ips; probes of that address are captured like any other traffic. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_pod_ip_key);
    __type(value, struct cv_pod_key);
    __uint(max_entries, 1);
} cv_pod_ips __weak SEC(".maps");

/* Connections of the node's own sockets to pods, for about a second. key: pod, tuple. writer: sockops. reader:
 * sk_lookup, guard. At the bound: the oldest goes; a probe that loses its note meets the proxy instead of the app. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __type(key, struct cv_note_key);
    __type(value, struct cv_note);
    __uint(max_entries, 8192);
} cv_probes __weak SEC(".maps");

/* The same for the proxy's connections that arrive in the pod they start in. A map of its own, so that no process of
 * the node can push them out. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __type(key, struct cv_note_key);
    __type(value, struct cv_note);
    __uint(max_entries, 8192);
} cv_legs __weak SEC(".maps");

/* Captured sockets. key: socket. writer: sockops. reader: guard, sockops. At the bound (the socket's own memory limit):
 * a connect is refused. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_sock);
} cv_socks __weak SEC(".maps");

/* Sockets of ours that nothing may capture. key: socket. writer: userspace by descriptor, before connect. reader:
 * sockops, guard. Not cloned: a connected socket vouches for nobody else. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_own_sock);
} cv_own_socks __weak SEC(".maps");

/* What our listeners take. key: socket, accepted ones inherit it. writer: userspace by descriptor. reader: sockops,
 * guard. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, struct cv_listen_sock);
} cv_listen_socks __weak SEC(".maps");

/* The proxy's listeners in this pod. key: (arrival * 2 + is IPv6) * workers + worker. writer: userspace. reader:
 * sk_lookup. An empty slot refuses. One map per pod: sk_lookup may not hand over a socket of another netns. */
struct {
    __uint(type, BPF_MAP_TYPE_SOCKMAP);
    __type(key, __u32); /* array keys stay plain integers, or the kernel drops the types */
    __type(value, __u64);
    __uint(max_entries, 1);
} cv_listeners __weak SEC(".maps");

/* The live flows. key: row, one of a few that the socket's cookie names. writer: sockops (birth, figures), the worker
 * that holds the row (identities, bytes, death, by mapped memory). reader: people. At the bound: counted, the
 * connection goes on without a row. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct cv_flow);
    __uint(max_entries, 1);
} cv_flows __weak SEC(".maps");

/* Which plain connections to a pod are refused at their SYN. key: pod. writer: userspace. reader: guard. No row: none.
 * At the bound, of pods or of a pod's rules: the proxy decides, as without. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_pod_key);
    __type(value, struct cv_policy);
    __uint(max_entries, 1);
} cv_policy __weak SEC(".maps");

/* What was refused by them: struct cv_event, one after the other. writer: guard, waking nobody. reader: the daemon that
 * loaded the guard, now and then. Of no use to another, hence not pinned. At the bound: counted, nothing more. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 65536); /* whole pages, also where those are large */
} cv_events __weak SEC(".maps");

/* What happened, how often. key: 0. writer: programs. reader: metrics, people. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __type(key, __u32);
    __type(value, struct cv_counts);
    __uint(max_entries, 1);
} cv_counts __weak SEC(".maps");
