// SPDX-License-Identifier: Apache-2.0
#include "headers.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace culvert::proxy {
namespace {

constexpr auto plain = [] {
    std::array<bool, 256> is{};
    for (char c : std::string_view{"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:/"})
        is[static_cast<unsigned char>(c)] = true;
    return is;
}();

bool is_plain(const std::string& value) {
    return std::ranges::all_of(value, [](unsigned char c) { return plain[c]; });
}

void append_part(std::string& out, std::string_view key, const std::string& value) {
    if (value.empty() || !is_plain(value)) return;
    if (!out.empty()) out += ',';
    out.append(key).append(1, '=').append(value);
}

std::string kind_of(const state::Workload& workload) {
    std::string kind = workload.workload_type;
    std::ranges::transform(kind, kind.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return kind == "cronjob" || kind == "pod" || kind == "job" ? kind : "deployment";
}

}

std::string baggage_of(const state::Workload& workload) {
    std::string out;
    out.reserve(256);
    append_part(out, "k8s.cluster.name", workload.cluster_id);
    append_part(out, "k8s.namespace.name", workload.namespace_);
    append_part(out, "k8s." + kind_of(workload) + ".name", workload.workload_name);
    append_part(out, "service.name", workload.canonical_name);
    append_part(out, "service.version", workload.canonical_revision);
    append_part(out, "cloud.region", workload.locality.region);
    append_part(out, "cloud.availability_zone", workload.locality.zone);
    return out;
}

std::string forwarded_for(const base::SocketAddress& client, const state::Service* service) {
    std::string out = "for=\"" + client.to_string() + "\"";
    // A name that would need quoting is left out: with a ';' in it, it would say something else to whoever reads this.
    auto fits = [](unsigned char c) { return plain[c] || c == '*'; };
    if (service && std::ranges::all_of(service->hostname, fits)) out += ";host=" + service->hostname;
    return out;
}

std::string new_traceparent(state::Random& random) {
    auto byte = [&random] { return static_cast<unsigned>(random() >> 16 & 0xff); };
    std::string out = "00-00000000000000000000000000000000-0000000000000000-00";
    for (std::size_t i = 3; i < 52; i += 2) {
        if (out[i] == '-') ++i;
        unsigned b = byte();
        out[i] = "0123456789abcdef"[b >> 4];
        out[i + 1] = "0123456789abcdef"[b & 15];
    }
    return out;
}

}
