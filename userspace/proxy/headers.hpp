// SPDX-License-Identifier: Apache-2.0
// The values of the headers that travel with a CONNECT, as ztunnel writes them.
#pragma once
#include <string>

#include <culvert/base/address.hpp>
#include <culvert/state/route.hpp>

namespace culvert::proxy {

// k8s.cluster.name=...,k8s.namespace.name=...,... ; parts that are empty are left out, and so are parts that would
// need escaping: peers parse this.
std::string baggage_of(const state::Workload& workload);

// for="10.0.0.7:41000";host=web.default.svc.cluster.local
std::string forwarded_for(const base::SocketAddress& client, const state::Service* service);

// 00-<32 hex>-<16 hex>-00
std::string new_traceparent(state::Random& random);

}
