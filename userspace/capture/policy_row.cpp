// SPDX-License-Identifier: Apache-2.0
#include "policy_row.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <random>

#include <culvert/capture/capture.hpp>

#include "exclusions.hpp"

namespace culvert::capture {

using base::Result;

static_assert(most_plaintext_rules == CV_POLICY_RULES);

namespace {

cv_policy_rule to_rule(const policy::PlaintextRule& rule) {
    return {.source = to_range(rule.source),
            .from_port = rule.from_port,
            .to_port = rule.to_port,
            .verdict = rule.refused ? CV_POLICY_REFUSE : CV_POLICY_LEAVE};
}

// Unlike any before it, also another daemon's: readers tell by it alone whether they have read one policy. In which
// order the kernel copies a row's words does not matter to them (bpf/lib/policy.h).
std::uint64_t fresh_version() {
    static std::uint64_t last = std::random_device{}();
    return ++last << 32 | std::random_device{}();
}

}

void put_policy(cv_policy& row, const policy::Plaintext& plaintext) {
    CV_CHECK(plaintext.rules.size() <= CV_POLICY_RULES, "plaintext_of() was told how many there may be");
    row = {};
    row.count = static_cast<__u32>(plaintext.rules.size());
    row.extent = plaintext.whole ? CV_POLICY_WHOLE : CV_POLICY_PART;
    std::ranges::transform(plaintext.rules, row.rules, to_rule);
}

Result<> PolicyRow::write(const policy::Plaintext& plaintext) {
    cv_policy wanted;
    put_policy(wanted, plaintext);
    wanted.version = row_.version;
    if (std::memcmp(&wanted, &row_, sizeof row_) == 0 && is_there()) return {};
    row_ = wanted;
    return put();
}

Result<> PolicyRow::put() {
    if (empty()) {
        remove();
        return {};
    }
    row_.version = fresh_version();
    if (bpf_map_update_elem(map_, &key_, &row_, BPF_ANY) == 0) return {};
    auto failed = base::errno_while("write a row of cv_policy");
    remove();
    return failed;
}

bool PolicyRow::is_there() const noexcept {
    cv_policy found{};
    const bool has = bpf_map_lookup_elem(map_, &key_, &found) == 0;
    return has ? !empty() && std::memcmp(&found, &row_, sizeof row_) == 0 : empty();
}

bool PolicyRow::repair() {
    return !is_there() && put();
}

void PolicyRow::remove() noexcept {
    bpf_map_delete_elem(map_, &key_);
}

}
