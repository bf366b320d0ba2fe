// SPDX-License-Identifier: Apache-2.0
// `exclude`, of the node and of a pod: what bypasses the mesh. A mistake here opens something, so nothing is guessed.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "schema.hpp"

namespace culvert::control {

using namespace yaml;
using state::Cidr;
using state::Exclusions;

namespace {

// The proxy's, in one capture or both.
constexpr std::uint16_t own_ports[] = {15001, 15006, 15008};

Reader app_port(std::uint16_t& into) {
    Reader any = port(into);
    std::string what = "a port of an app, from 1 to 65535";
    return {what, [&into, any, what](const Cursor& at) {
                any.read(at);
                if (std::ranges::find(own_ports, into) != std::end(own_ports))
                    at.expected(what, "this one is the mesh's own");
            }};
}

Reader exact_cidr(Cidr& into) {
    Reader any = cidr(into);
    return {any.expected, [&into, any](const Cursor& at) {
                any.read(at);
                Cidr exact{into.network(), into.prefix_length}, one{into.ip, into.ip.is_v4() ? 32u : 128u};
                if (into.prefix_length == 0)
                    at.refuse(
                        fmt::format("found {}, which is every address; to take a pod out of the mesh, remove it "
                                    "from pods",
                                    at.found()));
                if (exact != into)
                    at.refuse(fmt::format("found {}, an address within a range; did you mean {} or {}?", at.found(),
                                          exact.to_string(), one.to_string()));
            }};
}

template <class T>
Reader bounded(std::vector<T>& into, Reader (*of)(T&), std::string_view what) {
    Reader all = list(into, of);
    return {all.expected, [&into, all, what](const Cursor& at) {
                all.read(at);
                if (into.size() > Exclusions::most)
                    at.refuse(fmt::format("found {} {}, expected at most {}; remove some", into.size(), what,
                                          Exclusions::most));
            }};
}

}

Reader exclude(Exclusions& into) {
    return section([&into](const Cursor& at) {
        at.fields({{"outboundPorts", bounded(into.outbound_ports, app_port, "ports")},
                   {"outboundCidrs", bounded(into.outbound_cidrs, exact_cidr, "ranges")},
                   {"inboundPorts", bounded(into.inbound_ports, app_port, "ports")}});
    });
}

void add_exclusions(Exclusions& pod, const Exclusions& node, const Cursor& at) {
    pod.add(node);
    auto check = [&at](std::size_t found, std::string_view what) {
        if (found > Exclusions::most)
            at.refuse(fmt::format("found {} {} together with those of node.exclude, expected at most {}; remove some",
                                  found, what, Exclusions::most));
    };
    check(pod.outbound_ports.size(), "outbound ports");
    check(pod.outbound_cidrs.size(), "outbound ranges");
    check(pod.inbound_ports.size(), "inbound ports");
}

}
