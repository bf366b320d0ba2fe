// SPDX-License-Identifier: Apache-2.0
// Whether this node does its work, and if not, what it waits for.
#pragma once
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace culvert::admin {

// Ready when no part is pending. A node names its parts before it opens the door, so that ready means configured.
// Lives on: any thread.
class Readiness {
public:
    void pending(std::string part);
    void done(const std::string& part);

    bool ready() const;
    std::vector<std::string> waits_for() const;
    std::string text() const;  // "ready\n", or "not ready, pending: a, b\n": in ztunnel's words

private:
    mutable std::mutex lock_;
    std::set<std::string> pending_;
};

}
