// SPDX-License-Identifier: Apache-2.0
// TERM, INT and HUP are waited for, never met: from the process' first moment on they are held back, so that one that
// comes while nobody waits is there for who waits next. The kernel would drop it where we are a container's first
// process and have no handler.
#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <functional>

#include <culvert/base/result.hpp>

namespace culvert::node {

// In the calling thread, and those that it starts from now on.
void hold_signals() noexcept;
// Back to what the kernel does with them: for what runs briefly and may be cut anywhere.
void let_signals_in() noexcept;

// Whether TERM or INT came within this time.
bool told_to_end_within(std::chrono::milliseconds time) noexcept;

// Calls back for each of the three, on the io_context, those first that came before. Ends with the object.
class Signals {
public:
    explicit Signals(boost::asio::io_context& io, std::function<void(int)> on_signal);
    base::Result<> open();

private:
    void wait();

    boost::asio::posix::stream_descriptor descriptor_;
    std::function<void(int)> on_signal_;
};

}
