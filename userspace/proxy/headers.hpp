// SPDX-License-Identifier: Apache-2.0
// The values of the headers that travel with a CONNECT, as ztunnel writes them.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include <culvert/base/address.hpp>
#include <culvert/state/route.hpp>

namespace culvert::proxy {

// k8s.cluster.name=...,k8s.namespace.name=...,... ; parts that are empty are left out, and so are parts that would
// need escaping or are longer than names are: peers parse this.
std::string baggage_of(const state::Workload& workload);

// What a peer's baggage says: cluster, namespace, workload and its kind, canonical name and revision, region and zone.
// Parts that we would not write ourselves are not read; none that can be: nothing.
std::optional<state::Workload> workload_in(std::string_view baggage);

// for="10.0.0.7:41000";host=web.default.svc.cluster.local
std::string forwarded_for(const base::SocketAddress& client, const state::Service* service);

// The host that a peer's `forwarded` names first; empty: none. Borrows from the header.
std::string_view host_in(std::string_view forwarded);

// 00-<32 hex>-<16 hex>-00
std::string new_traceparent(state::Random& random);

}
