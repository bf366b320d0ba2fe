// SPDX-License-Identifier: Apache-2.0
// The node: owns everything and introduces it to each other. Lives on: the main thread, which is the control thread.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include <culvert/base/result.hpp>
#include <culvert/control/config.hpp>
#include <culvert/control/environment.hpp>

namespace culvert::node {

struct Setup {
    control::Config config;
    std::string file;                                 // where it came from, followed while it changes; or
    std::optional<control::ClusterSettings> cluster;  // who is to be asked instead
    bool take_over = false;                           // replace a running daemon of the same node without a gap
};

class Node {
public:
    // Capture, certificates, workers, pods, doors: in this order. Fails in words that say what is missing.
    static base::Result<std::unique_ptr<Node>> start(Setup setup);
    ~Node();

    // Until a signal, or a successor that has taken over, has ended it. Fails when what it waited for has come, and it
    // cannot go on from there.
    base::Result<> run();
    // The pods are the successor's now: leave them as they are.
    bool replaced() const noexcept;
    // It had all pods that it was told of. One that is replaced before has failed to take over: who had the pods took
    // them back.
    bool settled() const noexcept;
    // A signal has said so, whatever else it ended for.
    bool told_to_end() const noexcept;

private:
    class Impl;
    explicit Node(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}
