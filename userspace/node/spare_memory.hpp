// SPDX-License-Identifier: Apache-2.0
// Gives back to the kernel what the C library keeps of memory that nobody uses any more.
//
// free() returns little by itself: one connection that stays holds the pages of all that were beside it. Giving back
// stops every thread that allocates meanwhile, for a millisecond or so, and so waits for a moment without load; where
// none comes, it is done twice a minute at most, for 8 MB or more.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>

namespace culvert::node {

// Lives on: the control thread. Ends with its io_context.
class SpareMemory {
public:
    explicit SpareMemory(boost::asio::io_context& io) : timer_{io} { look_later(); }

    // Now, whatever there is.
    void give_back();

private:
    void look_later();
    void look();
    bool quiet();

    boost::asio::steady_timer timer_;
    std::chrono::nanoseconds used_{0};     // CPU of the process, at the last look
    std::chrono::nanoseconds busiest_{0};  // between two looks, since it was given back last
    std::size_t left_ = 0;                 // bytes, after it was given back last, or less
    int looks_ = 0;                        // since then
};

}
