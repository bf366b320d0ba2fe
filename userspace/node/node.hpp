// SPDX-License-Identifier: Apache-2.0
// The node: owns everything and introduces it to each other. Lives on: the main thread, which is the control thread.
#pragma once
#include <memory>
#include <string>

#include <culvert/base/result.hpp>
#include <culvert/control/config.hpp>

namespace culvert::node {

class Node {
public:
    // Capture, certificates, workers, pods, doors: in this order. Fails in words that say what is missing.
    // With take_over it replaces a running daemon of the same node without a gap.
    static base::Result<std::unique_ptr<Node>> start(std::string config_file, control::Config config, bool take_over);
    ~Node();

    // Until a signal, or a successor that has taken over, has ended it.
    void run();
    // The pods are the successor's now: leave them as they are.
    bool replaced() const noexcept;

private:
    class Impl;
    explicit Node(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}
