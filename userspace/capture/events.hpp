// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>

#include <culvert/base/fd.hpp>

namespace boost::asio {
class io_context;
}

namespace culvert::capture {

// Calls back, on the io_context, after something was reported on a non-blocking netlink socket. What it was does not
// matter, and a burst is one call: whoever listens looks at the world again. What does not end is called for twenty
// times a second. Ends with the object.
class ChangeWatch {
public:
    ChangeWatch(boost::asio::io_context& io, base::Fd socket, std::function<void()> on_change);
    ~ChangeWatch();

private:
    struct State;
    std::shared_ptr<State> state_;  // shared with the wait that is in flight
};

}
