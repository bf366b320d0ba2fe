// SPDX-License-Identifier: Apache-2.0
// Attaching a TCX program, and taking one off, waits for all CPUs to pass by, under the lock that everybody wants who
// changes network devices. The kernel can ask the CPUs instead, which is far sooner; the switch is the node's.
#pragma once
#include <string>

#include <culvert/base/fd.hpp>

namespace culvert::capture {

// The switch is on while one of these lives. Best effort: where it is not to be had (a read-only /sys), or is on
// already, it stays as it is.
class Expedite {
public:
    // A folder of ours in bpffs, where we note that it was us, for whoever comes after a crash: he switches it off.
    explicit Expedite(const std::string& folder);
    ~Expedite();
    Expedite(const Expedite&) = delete;
    Expedite& operator=(const Expedite&) = delete;

private:
    std::string note_;
    base::Fd switch_;  // empty: not ours
};

// Switches it off if a daemon that was here, in this folder, died with it on. Before the folder goes.
void end_expedited(const std::string& folder);

}
