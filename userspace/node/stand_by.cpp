// SPDX-License-Identifier: Apache-2.0
#include "stand_by.hpp"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include <culvert/base/log.hpp>
#include <culvert/capture/capture.hpp>

namespace culvert::node {

namespace {

using namespace std::chrono_literals;

// A successor gets the lock a moment after us; one that is replaced or crashes leaves it for a moment.
constexpr int patience = 3;

void end(int) {
    ::_exit(0);  // a container's first process is not ended by a signal that it does not handle
}

}

void stand_by(const std::string& instance) {
    base::log::info("node", "standing by while another culvertd has the pods");
    for (int number : {SIGTERM, SIGINT}) std::signal(number, end);
    for (int missed = 0; missed < patience; missed = capture::Capture::is_held(instance) ? 0 : missed + 1)
        std::this_thread::sleep_for(1s);
    base::log::warn("node", "nobody has the pods of {} any more: ending, to be started again", instance);
}

}
