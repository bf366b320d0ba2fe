// SPDX-License-Identifier: Apache-2.0
// What the kernel may refuse of a pod's plain connections: its row of cv_policy.
//
// Lives on: the control thread.
#pragma once
#include <culvert/base/result.hpp>
#include <culvert/bpf/policy.h>
#include <culvert/policy/plaintext.hpp>

namespace culvert::capture {

// As the kernel programs read it, but for the version.
void put_policy(cv_policy& row, const policy::Plaintext& plaintext);

// A pod's row, as this daemon wants it. Without rules there is none.
class PolicyRow {
public:
    // Borrows the map.
    PolicyRow(int policy_map, std::uint64_t cookie) noexcept : map_{policy_map}, key_{cookie} {}

    // What is there is replaced at once. After a failure there is no row: the proxy decides.
    base::Result<> write(const policy::Plaintext& plaintext);
    // True: it was not as it was written, and is again.
    bool repair();
    bool empty() const noexcept { return row_.count == 0; }
    void remove() noexcept;

private:
    bool is_there() const noexcept;
    base::Result<> put();

    int map_;
    cv_pod_key key_;
    cv_policy row_{};
};

}
