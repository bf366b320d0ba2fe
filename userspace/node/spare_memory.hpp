// SPDX-License-Identifier: Apache-2.0
// Gives back to the kernel what the C library keeps of memory that nobody uses any more.
//
// free() returns what is large or on top of a heap, and little else: one connection that stays holds the pages of all
// that were beside it. Giving those back stops every thread that allocates meanwhile, for a millisecond or so, and so
// waits for a moment without load; where none comes, it is done twice a minute at most, for half a megabyte or more.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>

namespace culvert::node {

// Lives on: the control thread. Ends with its io_context.
class SpareMemory {
public:
    // Before the process has had large blocks: it decides what malloc keeps from now on, for every thread.
    explicit SpareMemory(boost::asio::io_context& io);

    // Now, whatever there is.
    void give_back();

private:
    void look_later();
    void look();
    bool quiet();

    boost::asio::steady_timer timer_;
    std::chrono::nanoseconds used_{0};     // CPU of the process, at the last look
    std::chrono::nanoseconds busiest_{0};  // between two looks, since it was given back last
    std::int64_t left_ = 0;                // bytes, unused after they were given back last, or fewer
    int looks_ = 0;                        // since then
};

}
