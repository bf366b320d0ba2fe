// SPDX-License-Identifier: Apache-2.0
// iptables-save and iptables-restore of the kind that this node uses, for the network namespace that the calling thread
// is in.
#pragma once
#include <string>
#include <vector>

#include <culvert/base/result.hpp>

namespace culvert::capture {

class Tables {
public:
    // Asked in the node's own namespace, for all pods: rules of the legacy kind there, then that; else nft's; else
    // whatever iptables-restore is. FORCE_IPTABLES_BINARY (legacy, nft) has the last word. `lock` is a file of ours:
    // the system's would make pods wait for whoever changes the node's rules.
    static base::Result<Tables> choose(const std::string& lock);

    // Every kind that is on this machine.
    static std::vector<Tables> all(const std::string& lock);
    // A known kind, for what was put in by it.
    static Tables of(std::string kind, const std::string& lock);

    base::Result<std::string> save(int family) const;
    // Changes what the text names, at once or not at all, and leaves everything else.
    base::Result<> restore(int family, const std::string& text) const;

    const std::string& kind() const noexcept { return kind_; }
    const std::string& lock() const noexcept { return lock_; }

private:
    std::string program(int family, const char* action) const;

    std::string kind_;  // "-legacy", "-nft" or ""
    std::string lock_;
};

}
