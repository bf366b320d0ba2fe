// SPDX-License-Identifier: Apache-2.0
#include "stand_by.hpp"

#include <chrono>

#include <culvert/base/log.hpp>
#include <culvert/capture/capture.hpp>

#include "signals.hpp"

namespace culvert::node {

namespace {

using namespace std::chrono_literals;

// A successor gets the lock a moment after us; one that is replaced or crashes leaves it for a moment.
constexpr int patience = 3;

}

bool stand_by(const std::string& instance) {
    base::log::info("node", "standing by while another culvertd has the pods");
    for (int missed = 0; missed < patience; missed = capture::Capture::is_held(instance) ? 0 : missed + 1)
        if (told_to_end_within(1s)) return true;
    base::log::warn("node", "nobody has the pods of {} any more: ending, to be started again", instance);
    return false;
}

}
