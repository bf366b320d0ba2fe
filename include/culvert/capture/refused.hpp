// SPDX-License-Identifier: Apache-2.0
// What the kernel refused by itself, one connection after the other, for everybody who wants to hear of it.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <culvert/base/address.hpp>

namespace culvert::capture {

// A SYN that was answered with a reset, because the pod's policies refuse it. No socket of ours ever saw it.
struct Refused {
    std::string uid;  // of the pod that was called
    base::SocketAddress source;
    base::SocketAddress destination;
    std::string_view reason;  // as in ReasonCount::name
    std::chrono::system_clock::time_point at;
};

// Reads along: see Capture::add_reader(). The access log is one, a trace another.
//
// Called on the control thread, four times a second while the kernel has a policy to enforce, in the order in which
// things happened. What is done here adds up: a flood brings a thousand of them at a time.
class RefusedReader {
public:
    virtual ~RefusedReader() = default;
    virtual void refused(const Refused& connection) = 0;
    // So many more found no room in the ring. They are counted like the others, and nothing else is known of them.
    virtual void missed(std::uint64_t connections) = 0;
    // What had happened by now has been told.
    virtual void told() {}
};

}
