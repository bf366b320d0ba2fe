// SPDX-License-Identifier: Apache-2.0
// Policies in the files of a world, and what calls come to under them.
#pragma once
#include <string>

#include "world.hpp"

namespace culvert::test {

inline const std::string denied = "connection closed due to policy rejection: explicitly denied by: ";
inline const std::string not_allowed =
    "connection closed due to policy rejection: allow policies exist, but none allowed";
inline const std::string policy_changed = "connection closed due to policy change";

// One of namespace ns, as a line of the file; `rules` as they stand there.
std::string policy_line(const std::string& name, const std::string& scope, const std::string& action,
                        const std::string& rules, bool dry_run = false);
// Of one rule with one match.
inline std::string policy(const std::string& name, const std::string& scope, const std::string& action,
                          const std::string& match, bool dry_run = false) {
    return policy_line(name, scope, action, "[[[{" + match + "}]]]", dry_run);
}
// What istiod makes of a PeerAuthentication, by another name.
inline const std::string strict = policy("strict", "WorkloadSelector", "Deny", "notPrincipals: [!Presence []]");

// The mesh's files with these policies, as long as this lives.
class Policies {
public:
    explicit Policies(World& world) : world_{world} {}
    ~Policies();
    Policies(const Policies&) = delete;

    // `named`: what the workload of `by` says that it is subject to. Returns once both nodes have applied it.
    void publish(const std::string& policies, const std::string& named = {}, const Pod* by = nullptr);
    // What a name comes to that nobody has: unknownPolicy.
    void unknown(std::string answer) { unknown_ = std::move(answer); }

private:
    World& world_;
    std::string unknown_;
    std::string in_force_;
};

// What a call from there comes to: "yes", or the text with which the server's side refused it.
std::string answer(World& world, const Pod& from, const Pod& to, std::uint16_t port);
// The same, wanted: a worker hears of a change a moment after it was applied.
void check_answer(World& world, const Pod& from, const Pod& to, std::uint16_t port, const std::string& wanted);

}
