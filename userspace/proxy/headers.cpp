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

bool is_plain(std::string_view value) {
    constexpr std::size_t longest = 253;  // of a name in Kubernetes
    return value.size() <= longest && std::ranges::all_of(value, [](unsigned char c) { return plain[c]; });
}

std::string_view trimmed(std::string_view part) {
    auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!part.empty() && blank(part.front())) part.remove_prefix(1);
    while (!part.empty() && blank(part.back())) part.remove_suffix(1);
    return part;
}

// The first part, up to one of these; `list` is what comes after it.
std::string_view next_part(std::string_view& list, std::string_view ends) {
    auto end = std::min(list.find_first_of(ends), list.size());
    auto part = trimmed(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
    return part;
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

std::optional<state::Workload> workload_in(std::string_view baggage) {
    struct Part {
        std::string_view key;
        std::string state::Workload::*field;
        std::string_view kind = {};
    };
    static constexpr Part parts[] = {{"k8s.cluster.name", &state::Workload::cluster_id},
                                     {"k8s.namespace.name", &state::Workload::namespace_},
                                     {"k8s.deployment.name", &state::Workload::workload_name, "deployment"},
                                     {"k8s.cronjob.name", &state::Workload::workload_name, "cronjob"},
                                     {"k8s.pod.name", &state::Workload::workload_name, "pod"},
                                     {"k8s.job.name", &state::Workload::workload_name, "job"},
                                     {"service.name", &state::Workload::canonical_name},
                                     {"service.version", &state::Workload::canonical_revision}};
    state::Workload workload;
    bool any = false;
    while (!baggage.empty()) {
        auto value = next_part(baggage, ",");
        auto key = next_part(value, "=");
        value = trimmed(value);
        if (value.empty() || !is_plain(value)) continue;
        std::string* field = nullptr;
        if (key == "cloud.region") field = &workload.locality.region;
        if (key == "cloud.availability_zone") field = &workload.locality.zone;
        for (const Part& part : parts) {
            if (key != part.key) continue;
            field = &(workload.*part.field);
            if (!part.kind.empty()) workload.workload_type = part.kind;
        }
        if (!field) continue;
        *field = value;
        any = true;
    }
    if (!any) return std::nullopt;
    return workload;
}

std::string forwarded_for(const base::SocketAddress& client, const state::Service* service) {
    std::string out = "for=\"" + client.to_string() + "\"";
    // A name that would need quoting is left out: with a ';' in it, it would say something else to whoever reads this.
    auto fits = [](unsigned char c) { return plain[c] || c == '*'; };
    if (service && std::ranges::all_of(service->hostname, fits)) out += ";host=" + service->hostname;
    return out;
}

// RFC 7239: key=value pairs, values quoted or not. Ours and ztunnel's quote what holds a ',' or a ';'; what others make
// of it can only fail to be a service's name.
std::string_view host_in(std::string_view forwarded) {
    constexpr std::string_view key = "host=";
    while (!forwarded.empty()) {
        auto part = next_part(forwarded, ",;");
        auto lower = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
        if (part.size() < key.size() || !std::ranges::equal(part.substr(0, key.size()), key, {}, lower)) continue;
        part.remove_prefix(key.size());
        if (part.size() >= 2 && part.front() == '"' && part.back() == '"') part = part.substr(1, part.size() - 2);
        return part;
    }
    return {};
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
