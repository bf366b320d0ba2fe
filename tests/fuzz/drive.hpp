// SPDX-License-Identifier: Apache-2.0
// Runs a world's loop, one instruction after the other, and then to its end.
#pragma once
#include <sys/socket.h>

#include <culvert/base/loop.hpp>
#include <culvert/base/socket.hpp>

#include "require.hpp"

// Where there is no AddressSanitizer, nobody counts.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace fuzz {

inline std::size_t allocated_bytes() {
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

// Two ends of a connection: sockets of the kernel, without a network.
inline std::pair<culvert::base::Fd, culvert::base::Fd> connected() {
    int fds[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
            "a socket pair can be made");
    return {culvert::base::Fd{fds[0]}, culvert::base::Fd{fds[1]}};
}

class Drive : public culvert::base::RoundEnd {
public:
    explicit Drive(culvert::base::Loop& loop) : loop_{loop} {}

    void run() {
        loop_.at_round_end(*this);
        loop_.run();
    }

protected:
    ~Drive() = default;
    virtual bool act() = 0;    // instructions up to one whose effect must arrive; false: there is none left
    virtual void turn() = 0;   // the other ends read and write
    virtual void leave() = 0;  // they go
    virtual bool over() = 0;   // nothing of them is left

private:
    // What one end writes the other reads in the next round and answers at its end: two rounds from act to act.
    static constexpr int rounds_to_the_end = 64;
    // Windows and queues of one tunnel, and what this program itself holds.
    static constexpr std::size_t most_memory = 32u << 20;

    void on_round_end() override {
        require(allocated_bytes() <= allocated_ + most_memory, "memory stays bounded");
        ++round_;
        if (!leaving_ && round_ > 6 && round_ % 2 == 0) acting_ = acting_ && act();
        if (!leaving_) turn();
        if (!acting_ && !leaving_ && ++last_rounds_ > 6) {
            leaving_ = true;
            leave();
            last_rounds_ = 0;
        }
        if (leaving_ && (over() || ++last_rounds_ > rounds_to_the_end)) {
            require(over(), "a tunnel ends when its peer has gone");
            return loop_.stop();
        }
        loop_.at_round_end(*this);
    }

    culvert::base::Loop& loop_;
    const std::size_t allocated_ = allocated_bytes();
    bool acting_ = true, leaving_ = false;
    int round_ = 0, last_rounds_ = 0;
};

}
