/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Pods and their addresses, as the programs look them up.
 */
#pragma once
#include <culvert/bpf/shared.h>

/* Goes up when a pinned struct, or the meaning of one, changes. */
#ifndef CV_SCHEMA_VERSION /* tests build a daemon that speaks the next one */
#define CV_SCHEMA_VERSION 6
#endif

/* Frozen layout: a daemon of any version can read it. */
struct cv_schema {
    __u32 version;
    __u32 settled; /* 1: that daemon has all its pods, the one before it may go */
    __u64 daemon;  /* who took over the node last */
};
CV_SHARED(cv_schema, 16);

struct cv_pod_key {
    __u64 netns_cookie;
};
CV_SHARED(cv_pod_key, 8);

#define CV_VIRTUAL_INTERFACES 8

enum cv_pod_state {
    CV_POD_CAPTURING = 1,
    CV_POD_LEAVING = 2, /* new connections are the app's own business, those that live go on */
};

/* What of a pod's traffic bypasses the proxy. In the pod's own row, so that one write changes all of it. */
#define CV_EXCLUDED_PORTS 16
#define CV_EXCLUDED_RANGES 16

/* Which lists have something in them: a pod that excludes nothing pays for one look at this. */
#define CV_EXCLUDES_OUTBOUND 1
#define CV_EXCLUDES_INBOUND 2

struct cv_range {
    __u8 ip[16]; /* IPv4 as ::ffff:a.b.c.d; no bit that the mask has not */
    __u8 mask[16];
    enum cv_family family; /* 0: unused, and fits nothing */
    __u32 prefix;          /* its length in the family's own bits, for people */
};
CV_SHARED(cv_range, 40);

/* A pod that is in the mesh. This row is the switch: no program touches a pod without one. */
struct cv_pod {
    __u64 daemon; /* the alive program of this daemon, and of no other, opens the pod */
    enum cv_pod_state state;
    __u32 netns_inode;          /* finds the namespace again when no daemon runs */
    __u8 tcp_fwmark_accept_was; /* the sysctls before us, put back when the pod leaves */
    __u8 fwmark_reflect_was;
    __u8 fwmark_reflect6_was;
    __u8 excludes;                                   /* CV_EXCLUDES_* */
    __u8 by_rules;                                   /* 1: rules of Istio's CNI bring what comes to the pod */
    __u8 dns;                                        /* 1: its questions to nameservers are taken */
    __u8 src_valid_mark_was;                         /* as those above; ours for pods with DNS only */
    __u8 pad;                                        /* always 0 */
    __u32 virtual_interfaces[CV_VIRTUAL_INTERFACES]; /* ifindexes, of VMs and nested containers; 0: unused */
    char uid[64];
    char name[128];
    __u16 outbound_ports[CV_EXCLUDED_PORTS]; /* excluded, as what follows; 0: unused */
    __u16 inbound_ports[CV_EXCLUDED_PORTS];
    struct cv_range outbound_ranges[CV_EXCLUDED_RANGES];
};
CV_SHARED(cv_pod, 952);

/* An address of the pod's own, on any of its interfaces. */
struct cv_own_ip_key {
    __u64 netns_cookie;
    __u8 ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    enum cv_family family;
    __u32 pad; /* always 0 */
};
CV_SHARED(cv_own_ip_key, 32);

struct cv_own_ip {
    __u32 ifindex;
};
CV_SHARED(cv_own_ip, 4);

/* The pod that an address of global scope belongs to. */
struct cv_pod_ip_key {
    __u8 ip[16];
    enum cv_family family;
};
CV_SHARED(cv_pod_ip_key, 20);

/* A connection that sk_lookup must know when its SYN arrives, though nothing in the SYN says whose it is. */
struct cv_note_key {    /* frozen, for cv_legs */
    __u64 netns_cookie; /* of the pod it arrives in */
    __u8 source_ip[16];
    __u8 destination_ip[16];
    __u16 source_port;
    __u16 destination_port;
    enum cv_family family;
};
CV_SHARED(cv_note_key, 48);

enum cv_note_kind {
    CV_NOTE_PROBE = 1, /* a socket of the node's: let through to the app */
    CV_NOTE_LEG = 2,   /* the proxy's last step to the app: let through */
    CV_NOTE_DIAL = 3,  /* the proxy's dial to the pod it dials from: in by the front door, like a peer's */
};

struct cv_note {
    __u64 at_ns; /* CLOCK_MONOTONIC */
    enum cv_note_kind kind;
    __u32 pad; /* always 0 */
};
CV_SHARED(cv_note, 16);

/* One retransmission of a SYN is written again, so this needs only to outlive the way through the stack. */
#define CV_NOTE_LIFE_NS 1000000000ull
