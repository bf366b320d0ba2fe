// SPDX-License-Identifier: Apache-2.0
// How many of something each source has. An IPv6 /64 is one source: whoever has one address of it may have them all.
//
// Lives on: one worker.
#pragma once
#include <cstdint>
#include <map>

#include <culvert/base/address.hpp>

namespace culvert::hbone {

class Sources {
public:
    // May have no memory; then nothing is counted.
    std::uint32_t add(const base::IpAddress& ip) { return ++counts_[ip.network()]; }
    void remove(const base::IpAddress& ip) noexcept {
        auto found = counts_.find(ip.network());
        if (found != counts_.end() && --found->second == 0) counts_.erase(found);
    }
    std::uint32_t of(const base::IpAddress& ip) const noexcept {
        auto found = counts_.find(ip.network());
        return found == counts_.end() ? 0 : found->second;
    }
    // Of tunnels, where one address may have so many: nodes often number their pods out of one /64, and each needs its
    // own.
    static std::uint32_t share(const base::IpAddress& ip, std::uint32_t of_one) noexcept {
        return ip.is_v4() ? of_one : 4 * of_one;
    }

private:
    std::map<base::IpAddress, std::uint32_t> counts_;
};

}
