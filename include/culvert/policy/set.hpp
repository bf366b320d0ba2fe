// SPDX-License-Identifier: Apache-2.0
// Who may talk to whom: every policy of the mesh, made ready for decisions. Immutable, published to the workers with
// the snapshot it belongs to.
//
//   workload -> Compiled -> [everybody's policies] [its namespace's] [those that it names]     each indexed
//
// A rule is filed under something that a connection must have for it to match (a principal, a port, ...), so a decision
// looks at the rules that may match and at no others.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <culvert/policy/awaited.hpp>
#include <culvert/policy/hits.hpp>
#include <culvert/policy/policy.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::policy {

// What is decided about. Borrows the identity.
struct Connection {
    base::IpAddress source;
    base::SocketAddress destination;        // where the app is dialled
    const state::Identity* peer = nullptr;  // null: plaintext
};

// A policy in force, and how often it decided.
struct Named {
    Policy policy;
    std::string key;
    std::shared_ptr<Hits> hits;
    bool is_awaited = false;  // it stands in for one that is named and still to come
    bool stand_in = false;    // nobody has it: this is what is in its place
};
using NamedPtr = std::shared_ptr<const Named>;

enum class Verdict : std::uint8_t { allowed, denied, not_allowed };

struct Decision {
    Verdict verdict = Verdict::allowed;
    const Named* by = nullptr;  // lives as long as the Set; null: no policy said so
    bool allowed() const noexcept { return verdict == Verdict::allowed; }
    // Refused because of what is still to come: to be asked again when it is there.
    bool may_change() const noexcept { return !allowed() && by && by->is_awaited; }
    // What the access log shows, in ztunnel's words.
    std::string refusal() const;
};

class Block;       // policies that come together, indexed
struct Plaintext;  // plaintext.hpp

// What one workload is subject to.
class Compiled {
public:
    // Neither waits nor allocates.
    friend Decision decide(const Compiled& compiled, const Connection& connection) noexcept;
    // Those that would have matched, had they been in force.
    void for_each_dry_run(const Connection& connection, const std::function<void(const Named&)>& each) const;
    bool has_dry_runs() const noexcept;
    // A rehearsal of allow policies, where none is in force: what none of them matches would be refused.
    bool only_rehearses_allows() const noexcept;
    // In the order in which they are asked.
    std::vector<NamedPtr> policies() const;

private:
    friend class Set;
    friend Plaintext plaintext_of(const Compiled* compiled, std::size_t most_rules);
    std::array<std::shared_ptr<const Block>, 3> blocks_;  // may be null
};
Decision decide(const Compiled& compiled, const Connection& connection) noexcept;

// The workloads that a policy is about.
struct Subjects {
    static constexpr std::size_t few = 8;
    std::size_t count = 0;
    std::vector<state::WorkloadPtr> first;  // so few of them
};

class Set {
public:
    Set(const state::Snapshot& mesh, const std::vector<Policy>& policies, Ledger& ledger, Unknown unknown,
        const Names& awaited = {});
    ~Set();

    // Null: this workload is subject to no policy, so all may talk to it.
    const Compiled* of(const std::string& uid) const noexcept;
    const std::vector<NamedPtr>& policies() const noexcept { return policies_; }
    // Of the mesh that it was made for; a policy without any is not in it. For people: it looks at every workload.
    std::unordered_map<const Named*, Subjects> subjects(const state::Snapshot& mesh) const;

private:
    std::vector<NamedPtr> policies_;
    std::unordered_map<std::string, Compiled> by_uid_;  // those that are subject to something
};
using SetPtr = std::shared_ptr<const Set>;

}
