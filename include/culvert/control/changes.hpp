// SPDX-License-Identifier: Apache-2.0
// What a new version of the file asks of a node that runs with the old one.
#pragma once
#include <culvert/control/config.hpp>

namespace culvert::control {

struct Changes {
    // A pod that is not what it was (netns, identity, name) has left and joined: let go before you take on.
    std::vector<Pod> left;
    std::vector<Pod> joined;
    std::vector<Pod> excluding;  // others that are what they were, but for what they exclude
    bool mesh = false;           // workloads, services or policies: publish a new snapshot
    bool log_level = false;      // may be set at once
    // Settings whose new value waits for a restart, by their keys in the file: "ca", "log.access".
    std::vector<std::string> need_restart;

    bool none() const noexcept {
        return left.empty() && joined.empty() && excluding.empty() && !mesh && !log_level && need_restart.empty();
    }
};

Changes diff(const Config& old, const Config& fresh);

}
