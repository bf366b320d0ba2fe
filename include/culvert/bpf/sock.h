/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What is remembered about a socket, in the socket (BPF_MAP_TYPE_SK_STORAGE): it cannot go stale and dies with it.
 */
#pragma once
#include <culvert/bpf/shared.h>

enum cv_sock_note {
    CV_SOCK_PLAIN = 0,
    CV_SOCK_CAPTURED =
        1, /* an app's, at either end, and in the proxy's hands: nothing of it may leave by an interface */
    CV_SOCK_EXCLUDED = 2, /* an app's, connecting to what its pod excludes: its SYN may leave */
};

struct cv_sock {
    enum cv_sock_note note;
    __u32 asked_for_states; /* 1: cv_sockops turned on the calls with each new state, and off again */
};
CV_SHARED(cv_sock, 8);

/* Ours, said by the daemon through a descriptor before the socket connects. Nothing else can say it. */
enum cv_own_kind {
    CV_OWN_DIAL = 1,      /* leaves the pod for the network */
    CV_OWN_LEG = 2,       /* to the pod's app, in the client's name, out of a tunnel */
    CV_OWN_PLAIN_LEG = 3, /* the same, for a client that came without a tunnel; its row is the accepted side's */
};

/* Frozen, as cv_schema is: a daemon of any version must know the sockets of one that it replaces. */
struct cv_own_sock {
    enum cv_own_kind kind;
};
CV_SHARED(cv_own_sock, 4);

/* What a listener of ours takes; accepted sockets inherit it. */
enum cv_arrival {
    CV_ARRIVAL_OUTBOUND = 0,
    CV_ARRIVAL_INBOUND_PLAIN = 1,
    CV_ARRIVAL_INBOUND_TUNNEL = 2,
    CV_ARRIVAL_DNS = 3, /* UDP: an app's questions to nameservers, for the first worker's slot alone */
    CV_ARRIVAL_COUNT,
};

struct cv_listen_sock { /* frozen, too */
    enum cv_arrival arrival;
};
CV_SHARED(cv_listen_sock, 4);
