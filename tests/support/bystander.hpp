// SPDX-License-Identifier: Apache-2.0
// Watches over a daemon that is being ill-treated: calls in good faith go on undisturbed all the while, and what the
// hostile ones took is given back when they are gone.
#pragma once
#include "load.hpp"
#include "server.hpp"
#include "world.hpp"

namespace culvert::test {

class Bystander {
public:
    // Calls from client to near: out of the daemon of node 1 and into it.
    explicit Bystander(World& world, double slack_mib = 24);

    // Of this daemon since the beginning.
    double rise(const std::string& sample) const;
    // By what was wrong; waited for, and then it must be the number.
    void check_faults(const std::string& fault, double count) const;
    // Once the hostile ones are gone. Says by CHECKs what is not well.
    void check();
    // The same where the calls have been stopped.
    void check_quietly();
    Load& load() noexcept { return load_; }

private:
    World& world_;
    Server echo_;
    Load load_;
    Connection kept_;  // one in the middle of its life
    Samples before_;
    std::size_t descriptors_ = 0;
    std::size_t resident_ = 0;
    double slack_mib_;
};

std::size_t descriptors(const Node& node);
// The access log has said these words since its mark as an error, or does soon.
bool logged(Node& node, const std::string& words);

}
