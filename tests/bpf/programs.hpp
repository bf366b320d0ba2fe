// SPDX-License-Identifier: Apache-2.0
// The programs as the kernel's test-run call sees them, with nothing attached.
#pragma once
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <cv_cap.skel.h>

#include <capture/exclusions.hpp>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/bpf/pod.h>
#include <culvert/bpf/reasons.h>
#include <culvert/bpf/sock.h>

namespace culvert::test {

class Programs {
public:
    static constexpr __u64 pod_netns = 4711;
    static constexpr unsigned workers = 2;

    explicit Programs(bool pod_is_enrolled = true) : cap_{cv_cap::open()} {
        cap_->rodata->pod_netns = pod_netns;
        cap_->rodata->workers = workers;
        for (bpf_map* map : {cap_->maps.cv_pods, cap_->maps.cv_own_ips, cap_->maps.cv_pod_ips, cap_->maps.cv_policy,
                             cap_->maps.cv_listeners})
            bpf_map__set_max_entries(map, 64);
        if (cv_cap::load(cap_.get()) != 0) throw std::runtime_error{"cannot load the programs"};
        if (pod_is_enrolled) set_state(CV_POD_CAPTURING);
    }

    void set_state(cv_pod_state state, const std::vector<__u32>& virtual_interfaces = {}, bool dns = false) {
        cv_pod pod{};
        pod.dns = dns;
        pod.state = state;
        std::copy(virtual_interfaces.begin(), virtual_interfaces.end(), pod.virtual_interfaces);
        update(cap_->maps.cv_pods, cv_pod_key{pod_netns}, pod);
    }
    void exclude(const state::Exclusions& exclusions) {
        cv_pod pod{};
        pod.state = CV_POD_CAPTURING;
        if (!capture::put_exclusions(pod, exclusions)) throw std::runtime_error{"cannot exclude so much"};
        update(cap_->maps.cv_pods, cv_pod_key{pod_netns}, pod);
    }
    void own(cv_family family, const char* ip) {
        cv_own_ip_key key{};
        key.netns_cookie = pod_netns;
        key.family = family;
        write_ip(key.ip, ip);
        update(cap_->maps.cv_own_ips, key, cv_own_ip{2});
    }
    template <class Key, class Value>
    static void update(bpf_map* map, const Key& key, const Value& value) {
        if (bpf_map__update_elem(map, &key, sizeof key, &value, sizeof value, BPF_ANY) != 0)
            throw std::runtime_error{"cannot update a map"};
    }
    static void write_ip(__u8 (&to)[16], const char* ip) {
        auto parsed = *base::IpAddress::parse(ip);
        std::memcpy(to, parsed.bytes.data(), 16);
    }

    __u64 count(__u64 cv_counts::*column) const {
        std::vector<cv_counts> rows(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        __u32 key = 0;
        bpf_map_lookup_elem(bpf_map__fd(cap_->maps.cv_counts), &key, rows.data());
        __u64 sum = 0;
        for (const auto& row : rows) sum += row.*column;
        return sum;
    }
    __u64 total() const {
        std::vector<cv_counts> rows(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        __u32 key = 0;
        bpf_map_lookup_elem(bpf_map__fd(cap_->maps.cv_counts), &key, rows.data());
        __u64 sum = 0;
        for (const auto& row : rows) {
            __u64 columns[CV_REASON_COUNT];
            std::memcpy(columns, &row, sizeof row);
            for (__u64 column : columns) sum += column;
        }
        return sum;
    }

    cv_cap* operator->() { return cap_.get(); }

private:
    base::Handle<cv_cap, cv_cap::destroy> cap_;
};

}
