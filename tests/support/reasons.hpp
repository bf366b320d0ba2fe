// SPDX-License-Identifier: Apache-2.0
// How often each cv_reason was counted, over all daemons of the run, and over the runs that share a folder
// (CULVERT_REASONS_DIR): ctest runs the suite as several processes.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "metrics.hpp"
#include "wait.hpp"

namespace culvert::test {

class Node;

// How often a node's programs have counted a reason since this was made. Istio's rules count nothing: there rises() is
// true and rise() is 0.
class ReasonCount {
public:
    ReasonCount(const Node& node, const std::string& reason);
    std::uint64_t rise() const;
    bool rises(std::uint64_t by = 1, Milliseconds limit = 5s) const;

private:
    std::uint64_t now() const;

    const Node& node_;
    std::string metric_;
    std::uint64_t before_;
};

}

namespace culvert::test::reasons {

// From a daemon's metrics page; of one instance, the highest count of each reason stands.
void add(const std::string& instance, const Samples& samples);
// Everything so far: stopped daemons, living ones, and other processes of the run.
std::map<std::string, std::uint64_t> table();
// For the other processes.
void save();

}
