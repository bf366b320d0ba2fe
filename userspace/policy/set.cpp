// SPDX-License-Identifier: Apache-2.0
#include <culvert/policy/set.hpp>

#include <algorithm>
#include <map>

#include <culvert/base/log.hpp>

#include "block.hpp"

namespace culvert::policy {
namespace {

using BlockPtr = std::shared_ptr<const Block>;

// The names that istiod gives to what it makes of a PeerAuthentication.
bool stands_for_peer_authentication(std::string_view name) noexcept {
    return name == "istio_converted_static_strict" || name.starts_with("converted_peer_authentication_");
}

// What is put in the place of a policy that nobody has.
Policy stand_in(const std::string& key) {
    const auto slash = key.find('/');
    Policy policy{.name = key.substr(slash + 1), .namespace_ = key.substr(0, slash)};
    Rule rule;  // without clauses: everything
    if (stands_for_peer_authentication(policy.name)) {
        Match plaintext;
        plaintext.not_principals = {{Form::presence, ""}};
        rule = {{plaintext}};
    }
    policy.rules = {rule};
    return policy;
}

NamedPtr named(const Policy& policy, Ledger& ledger, bool is_awaited = false, bool stands_in = false) {
    std::string key = policy.key();
    auto hits = ledger.of(key);
    return std::make_shared<const Named>(Named{policy, std::move(key), std::move(hits), is_awaited, stands_in});
}

void say_unknown(const std::string& key, Unknown unknown) {
    const bool plaintext_only = stands_for_peer_authentication(std::string_view{key}.substr(key.find('/') + 1));
    base::log::warn("policy", "{} is named by a workload, and nobody has it: {}", key,
                    unknown == Unknown::allow ? "it is passed over"
                    : plaintext_only          ? "plaintext is refused"
                                              : "everything is refused");
}

}

Set::Set(const state::Snapshot& mesh, const std::vector<Policy>& policies, Ledger& ledger, Unknown unknown,
         const Names& awaited) {
    std::shared_ptr<Block> everybody;
    std::unordered_map<std::string, std::shared_ptr<Block>> by_namespace;
    auto add = [](std::shared_ptr<Block>& block, const NamedPtr& policy) {
        if (!block) block = std::make_shared<Block>();
        block->add(policy);
    };
    std::unordered_map<std::string, NamedPtr> by_key;
    for (const Policy& policy : policies) {
        NamedPtr made = named(policy, ledger);
        policies_.push_back(made);
        by_key.insert_or_assign(made->key, made);
        // One of no namespace is everybody's, as in ztunnel.
        if (policy.scope == Scope::global || (policy.scope == Scope::of_namespace && policy.namespace_.empty())) {
            add(everybody, made);
        } else if (policy.scope == Scope::of_namespace) {
            add(by_namespace[policy.namespace_], made);
        }
    }
    auto find = [&](const std::string& key) -> NamedPtr {
        auto [at, is_new] = by_key.try_emplace(key);
        if (!is_new) return at->second;  // null: passed over
        const bool is_awaited = awaited.contains(key);
        if (!is_awaited) say_unknown(key, unknown);
        if (is_awaited || unknown == Unknown::deny)
            policies_.push_back(at->second = named(stand_in(key), ledger, is_awaited, true));
        return at->second;
    };
    std::map<std::vector<std::string>, std::shared_ptr<Block>> by_names;
    auto block_of = [&](const std::vector<std::string>& names) -> BlockPtr {
        if (names.empty()) return nullptr;
        auto [made, is_new] = by_names.try_emplace(names);
        if (is_new)
            for (const std::string& name : names)
                if (NamedPtr policy = find(name)) add(made->second, policy);
        return made->second;
    };
    for (const auto& workload : mesh.workloads()) {
        Compiled compiled;
        auto of_namespace = by_namespace.find(workload->namespace_);
        compiled.blocks_ = {everybody, of_namespace == by_namespace.end() ? nullptr : of_namespace->second,
                            block_of(workload->authorization_policies)};
        const bool is_subject =
            std::ranges::any_of(compiled.blocks_, [](const BlockPtr& block) { return block != nullptr; });
        if (is_subject) by_uid_.insert_or_assign(workload->uid, std::move(compiled));
    }
}

Set::~Set() = default;

const Compiled* Set::of(const std::string& uid) const noexcept {
    if (by_uid_.empty()) return nullptr;
    auto found = by_uid_.find(uid);
    return found == by_uid_.end() ? nullptr : &found->second;
}

Decision decide(const Compiled& compiled, const Connection& connection) noexcept {
    bool denies_exist = false;
    bool allows_exist = false;
    for (const BlockPtr& block : compiled.blocks_) {
        if (!block) continue;
        denies_exist = denies_exist || !block->deny.empty();
        allows_exist = allows_exist || !block->allow.empty();
    }
    if (!denies_exist && !allows_exist) return {};
    const Facts facts{connection};
    if (facts.unreadable) return {Verdict::not_allowed, nullptr};
    for (const BlockPtr& block : compiled.blocks_) {
        if (!block) continue;
        if (auto denies = block->deny.first(facts)) return {Verdict::denied, block->deny.at(*denies).get()};
    }
    if (!allows_exist) return {};
    for (const BlockPtr& block : compiled.blocks_) {
        if (!block) continue;
        if (auto allows = block->allow.first(facts)) return {Verdict::allowed, block->allow.at(*allows).get()};
    }
    return {Verdict::not_allowed, nullptr};
}

void Compiled::for_each_dry_run(const Connection& connection, const std::function<void(const Named&)>& each) const {
    const Facts facts{connection};
    if (facts.unreadable) return;
    for (Index Block::*index : {&Block::dry_deny, &Block::dry_allow})
        for (const BlockPtr& block : blocks_) {
            if (!block) continue;
            const Index& asked = (*block).*index;
            for (auto found = asked.first(facts); found; found = asked.first(facts, *found + 1))
                each(*asked.at(*found));
        }
}

bool Compiled::has_dry_runs() const noexcept {
    for (const BlockPtr& block : blocks_)
        if (block && (!block->dry_deny.empty() || !block->dry_allow.empty())) return true;
    return false;
}

bool Compiled::only_rehearses_allows() const noexcept {
    bool rehearses = false;
    for (const BlockPtr& block : blocks_) {
        if (block && !block->allow.empty()) return false;
        rehearses = rehearses || (block && !block->dry_allow.empty());
    }
    return rehearses;
}

std::vector<NamedPtr> Compiled::policies() const {
    std::vector<NamedPtr> all;
    for (Index Block::*index : {&Block::deny, &Block::allow, &Block::dry_deny, &Block::dry_allow})
        for (const BlockPtr& block : blocks_)
            if (block) all.insert(all.end(), ((*block).*index).policies().begin(), ((*block).*index).policies().end());
    return all;
}

std::string Decision::refusal() const {
    const std::string what = "connection closed due to policy rejection: ";
    if (verdict == Verdict::denied) return what + "explicitly denied by: " + by->key;
    return what + "allow policies exist, but none allowed";
}

}
