/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Numbers that the kernel programs, the rules in a pod's netns and the proxy must agree on. The marks and the table
 * are Istio's own, so that a pod which istio-cni has prepared needs no second set.
 */
#pragma once

#define CV_MARK_MASK 0xfffu   /* the bits of a mark that are ours; an app keeps the others */
#define CV_MARK_LOOP 0x111u   /* route over lo, into the proxy */
#define CV_MARK_REFUSE 0x112u /* no proxy is alive: the route lookup says EHOSTUNREACH */
#define CV_MARK_PROXY 0x539u  /* the proxy's own packets, as Istio marks them */

#define CV_ROUTE_TABLE 100
#define CV_ROUTE_TABLE_BESIDE 101   /* ours, in a pod where the other is Istio's */
#define CV_RULE_PRIORITY_REFUSE 110 /* before any rule of the CNI's, after the local table */
#define CV_RULE_PRIORITY_LOOP 111
#define CV_RULE_PRIORITY_VIRTUAL 112
#define CV_RULE_PRIORITY_DNS 113

#define CV_TUNNEL_PORT 15008
#define CV_OUTBOUND_PORT 15001 /* to these two, rules of Istio's redirect */
#define CV_INBOUND_PORT 15006
#define CV_DNS_PORT 53
#define CV_LOOPBACK_IFINDEX 1 /* in every netns */
