// SPDX-License-Identifier: Apache-2.0
// The mesh as everybody in this node was told of it last. Lives on: the control thread.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <vector>

#include <culvert/policy/awaited.hpp>
#include <culvert/policy/hits.hpp>
#include <culvert/policy/set.hpp>
#include <culvert/state/snapshot.hpp>

namespace culvert::node {

class Mesh {
public:
    using Tell = std::function<void(const state::SnapshotPtr&, const policy::SetPtr&)>;

    // `hits` counts what the policies decide. `tell` is called with everything that is new.
    Mesh(boost::asio::io_context& io, policy::Ledger& hits, Tell tell);

    // Told at once, and again when a policy that a workload names has been waited for long enough.
    void publish(state::SnapshotPtr mesh, std::vector<policy::Policy> policies, policy::Unknown unknown);

    // Empty before the first of them.
    const state::SnapshotPtr& snapshot() const noexcept { return mesh_; }
    const policy::SetPtr& policies() const noexcept { return set_; }
    std::size_t policy_count() const noexcept { return policies_.size(); }
    policy::Unknown unknown() const noexcept { return unknown_; }

private:
    void judge();
    void retire(std::shared_ptr<const void> old);
    void sweep();

    policy::Ledger& hits_;
    Tell tell_;
    boost::asio::steady_timer later_;
    policy::Awaited awaited_;
    state::SnapshotPtr mesh_;
    std::vector<policy::Policy> policies_;
    policy::Unknown unknown_ = policy::Unknown::deny;
    policy::SetPtr set_;
    // What workers may use still. A whole mesh takes milliseconds to free: not on the path of anybody's bytes.
    std::vector<std::shared_ptr<const void>> retired_;
    boost::asio::steady_timer next_sweep_;
};

}
