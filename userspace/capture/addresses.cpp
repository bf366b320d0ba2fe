// SPDX-License-Identifier: Apache-2.0
#include "addresses.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

#include <culvert/bpf/pod.h>

#include "pod.hpp"

namespace culvert::capture {

namespace {

cv_family family_of(const InterfaceAddress& address) {
    return address.family == AF_INET ? CV_IPV4 : CV_IPV6;
}

cv_own_ip_key own_key(std::uint64_t cookie, const InterfaceAddress& address) {
    cv_own_ip_key key{};
    key.netns_cookie = cookie;
    key.family = family_of(address);
    std::memcpy(key.ip, address.ip.bytes.data(), 16);
    return key;
}

cv_pod_ip_key pod_key(const InterfaceAddress& address) {
    cv_pod_ip_key key{};
    key.family = family_of(address);
    std::memcpy(key.ip, address.ip.bytes.data(), 16);
    return key;
}

template <class Key, class Value>
struct Row {
    Key key;
    Value value;
};

// A thousand rows a call: they are those of all pods of the node, and are looked through for each that joins.
template <class Key, class Value>
std::vector<Row<Key, Value>> rows(int map) {
    constexpr __u32 at_once = 1024;
    std::vector<Key> keys(at_once);
    std::vector<Value> values(at_once);
    std::vector<Row<Key, Value>> found;
    __u32 from = 0, next = 0;
    for (bool first = true;; first = false, from = next) {
        __u32 count = at_once;
        int err =
            bpf_map_lookup_batch(map, first ? nullptr : &from, &next, keys.data(), values.data(), &count, nullptr);
        if (err != 0 && errno != ENOENT) return found;  // ENOENT: these were the last
        for (__u32 i = 0; i < count; ++i) found.push_back({keys[i], values[i]});
        if (err != 0) return found;
    }
}

bool is_anothers(const Programs& node, int whose, const cv_pod_ip_key& key, std::uint64_t cookie) {
    cv_pod_key holder{};
    return bpf_map_lookup_elem(whose, &key, &holder) == 0 && holder.netns_cookie != cookie &&
           find_row(node.map("cv_pods"), holder.netns_cookie);
}

template <class Key>
bool same(const Key& a, const Key& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

}

void publish_addresses(const Programs& node, std::uint64_t cookie, const std::vector<InterfaceAddress>& now,
                       Claim claim) {
    int own = node.map("cv_own_ips"), whose = node.map("cv_pod_ips");
    std::vector<cv_own_ip_key> own_now;
    std::vector<cv_pod_ip_key> global_now;
    for (const InterfaceAddress& address : now) {
        if (own_now.size() == addresses_per_pod) break;
        own_now.push_back(own_key(cookie, address));
        cv_own_ip value{static_cast<__u32>(address.interface)};
        bpf_map_update_elem(own, &own_now.back(), &value, BPF_ANY);
        if (!address.global || address.ip.is_loopback()) continue;
        if (claim == Claim::the_rest && is_anothers(node, whose, pod_key(address), cookie)) continue;
        global_now.push_back(pod_key(address));
        cv_pod_key pod{cookie};
        bpf_map_update_elem(whose, &global_now.back(), &pod, BPF_ANY);
    }
    // New ones first, then the old ones: an address that stays is never missing in between.
    for (const auto& [key, value] : rows<cv_own_ip_key, cv_own_ip>(own)) {
        if (key.netns_cookie != cookie) continue;
        if (std::none_of(own_now.begin(), own_now.end(), [&key = key](const auto& one) { return same(one, key); }))
            bpf_map_delete_elem(own, &key);
    }
    for (const auto& [key, pod] : rows<cv_pod_ip_key, cv_pod_key>(whose)) {
        if (pod.netns_cookie != cookie) continue;
        if (std::none_of(global_now.begin(), global_now.end(),
                         [&key = key](const auto& one) { return same(one, key); }))
            bpf_map_delete_elem(whose, &key);
    }
}

}
