// SPDX-License-Identifier: Apache-2.0
// Reads what the kernel has refused, now and then, and hands it to everybody who wants to hear of it. Nobody is woken
// for one: a flood costs a look four times a second, and no more than a ring full of it is read.
//
// Lives on: the control thread.
#pragma once
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <vector>

#include <culvert/bpf/policy.h>
#include <culvert/capture/refused.hpp>

struct ring_buffer;

namespace culvert::capture {

class RefusedRing {
public:
    struct Asks {
        // The uid of the pod with this cookie; empty: it has gone meanwhile.
        std::function<std::string(std::uint64_t cookie)> uid;
        // How many found no room, ever.
        std::function<std::uint64_t()> missed;
        // Whether the kernel has something to enforce. Without, nobody looks.
        std::function<bool()> is_used;
    };
    // Borrows the map, of which only what is read is mapped.
    RefusedRing(boost::asio::io_context& io, int events_map, Asks asks);
    ~RefusedRing();

    void add(RefusedReader& reader) { readers_.push_back(&reader); }
    void remove(RefusedReader& reader) { std::erase(readers_, &reader); }
    // From now on, as long as it is used.
    void watch();
    void read();

private:
    static int on_sample(void* self, void* data, std::size_t size);
    void tell(const cv_event& event);
    void look_later();

    int events_map_;
    Asks asks_;
    std::vector<RefusedReader*> readers_;
    struct Free {
        void operator()(ring_buffer* ring) const noexcept;
    };
    std::unique_ptr<ring_buffer, Free> ring_;  // once it is used
    std::uint64_t missed_ = 0;
    unsigned read_ = 0;
    bool looks_ = false;
    boost::asio::steady_timer four_times_a_second_;
};

}
