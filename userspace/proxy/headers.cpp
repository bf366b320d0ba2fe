// SPDX-License-Identifier: Apache-2.0
#include "headers.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace culvert::proxy {
namespace {

bool is_plain(const std::string& value) {
    return std::ranges::all_of(value, [](unsigned char c) {
        return std::isalnum(c) || std::string_view{"-_.:/"}.find(static_cast<char>(c)) != std::string_view::npos;
    });
}

void append_part(std::string& out, const std::string& key, const std::string& value) {
    if (value.empty() || !is_plain(value)) return;
    if (!out.empty()) out += ',';
    out += key + "=" + value;
}

std::string kind_of(const state::Workload& workload) {
    std::string kind = workload.workload_type;
    std::ranges::transform(kind, kind.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return kind == "cronjob" || kind == "pod" || kind == "job" ? kind : "deployment";
}

}

std::string baggage_of(const state::Workload& workload) {
    std::string out;
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
    if (service) out += ";host=" + service->hostname;
    return out;
}

std::string new_traceparent(state::Random& random) {
    auto word = [&random] { return static_cast<std::uint32_t>(random() << 1 ^ random() >> 8); };
    return fmt::format("00-{:08x}{:08x}{:08x}{:08x}-{:08x}{:08x}-00", word(), word(), word(), word(), word(), word());
}

}
