/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Why the kernel side did what it did. One list makes the enum, the columns of cv_counts, the label values of the
 * metric and the sentences in docs/DEBUGGING.md.
 *
 * CONNECT_*: sockops, an app or we call connect(). TO_*, PASS_*, DROP_*: sk_lookup, a SYN has arrived in the pod.
 * GUARD_*: TC, a packet on a pod's interface. POLICY_*: TC, a SYN that is welcome otherwise.
 */
#pragma once
#include <culvert/bpf/shared.h>

#define CV_REASONS(X)                                                                                    \
    X(CONNECT_CAPTURED, "an app's connect was taken for the proxy")                                      \
    X(CONNECT_REFUSED, "an app's connect failed at once, because no proxy was alive")                    \
    X(CONNECT_OWN, "the proxy connected from the pod to the network")                                    \
    X(CONNECT_LEG, "the proxy connected to the pod's app in the client's name")                          \
    X(CONNECT_LOOPBACK, "an app connected to loopback, left alone")                                      \
    X(CONNECT_SELF, "an app connected to the pod's own address, left alone")                             \
    X(CONNECT_PROBE, "a process of the node connected to a pod, let through")                            \
    X(CONNECT_LEAVING, "an app connected while its pod was leaving the mesh, left alone")                \
    X(CONNECT_EXCLUDED_PORT, "an app connected to a port that its pod excludes, past the proxy")         \
    X(CONNECT_EXCLUDED_CIDR, "an app connected to a range that its pod excludes, past the proxy")        \
    X(CONNECT_NO_STORAGE, "no room to note an app's socket; its connect is refused")                     \
    X(CONNECT_MARK_FAILED, "the kernel refused our mark; the guard drops what the socket sends")         \
    X(LISTEN_MARK_ZEROED, "an app's mark was taken off its listener, replies must be able to come home") \
    X(FLOW_OPENED, "a row of cv_flows was written")                                                      \
    X(FLOWS_FULL, "no free row in cv_flows; the connection goes on without one")                         \
    X(TO_OUTBOUND, "handed to the proxy: a connection leaving the pod")                                  \
    X(TO_INBOUND, "handed to the proxy: a plain connection to the pod")                                  \
    X(TO_TUNNEL, "handed to the proxy: a tunnel to the pod")                                             \
    X(TO_DNS, "handed to the DNS server: an app's question to a nameserver")                             \
    X(PASS_LOOPBACK, "loopback, left alone")                                                             \
    X(PASS_SELF, "from the pod to itself, left alone")                                                   \
    X(PASS_PROBE, "a noted probe of the node's, given to the app")                                       \
    X(PASS_LEG, "the proxy's own connection, given to the app")                                          \
    X(PASS_LEAVING, "the pod joins or leaves the mesh, given to the app")                                \
    X(PASS_EXCLUDED, "to a port that the pod excludes, given to the app")                                \
    X(PASS_RULES, "left to what the rules of Istio's CNI in the pod made of it")                         \
    X(DROP_FOREIGN, "neither to nor from an address of the pod")                                         \
    X(DROP_NO_LISTENER, "the proxy is not listening; refused, never let past")                           \
    X(DROP_ASSIGN_FAILED, "the kernel refused the proxy's listener")                                     \
    X(SLOT_CROWDED, "a worker's backlog was more than half full, the next worker was tried")             \
    X(GUARD_CAPTURED, "a captured socket tried to send past the proxy")                                  \
    X(GUARD_SYN, "a connection that is not the proxy's tried to leave the pod")                          \
    X(GUARD_ANSWER, "an app answered a connection that did not come through the proxy")                  \
    X(GUARD_UNREADABLE, "headers too odd to prove that no connection hides behind them")                 \
    X(GUARD_FORGED, "an outside packet claimed to come from the pod itself")                             \
    X(POLICY_REFUSED, "a plain connection that the pod's policies refuse, refused at its SYN")           \
    X(EVENTS_FULL, "no room in cv_events; what was refused has no line in the access log")

enum cv_reason {
#define X(name, text) CV_REASON_##name,
    CV_REASONS(X)
#undef X
        CV_REASON_COUNT,
};

/* The counters: one row, one named column per reason. */
struct cv_counts {
#define X(name, text) __u64 name;
    CV_REASONS(X)
#undef X
};
CV_SHARED(cv_counts, CV_REASON_COUNT * 8);
