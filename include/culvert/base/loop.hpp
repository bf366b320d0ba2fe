// SPDX-License-Identifier: Apache-2.0
// One worker's event loop: edge-triggered readiness, timers, a mailbox, and a hook at the end of every round.
//
//   epoll_wait (at most 64 events) -> on_ready... -> mailbox -> timers -> resumed coroutines -> round ends -> again
//
// Lives on: the thread that calls run(). Only post() and stop() may be called from another one.
#pragma once
#include <sys/epoll.h>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::base {

class Loop;
namespace intrusive = boost::intrusive;
using AutoListHook = intrusive::list_base_hook<intrusive::link_mode<intrusive::auto_unlink>>;
using AutoSetHook = intrusive::set_base_hook<intrusive::link_mode<intrusive::auto_unlink>>;

// Told what epoll said of a descriptor (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR).
class Ready {
public:
    virtual void on_ready(std::uint32_t events) = 0;

protected:
    ~Ready() = default;
};

// The loop's interest in one borrowed descriptor, edge-triggered. Ends with the object, also in the middle of a round:
// an event that was already fetched is then never delivered.
class Watch {
public:
    Watch(Loop& loop, Ready& target) noexcept : loop_{loop}, target_{&target} {}
    ~Watch() { stop(); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    Result<> start(int fd, std::uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    void stop() noexcept;
    Loop& loop() const noexcept { return loop_; }

private:
    friend class Loop;
    Loop& loop_;
    Ready* target_;
    int fd_ = -1;
};

// A single-shot deadline. Cancelled by destruction.
class Timer : public AutoSetHook {
public:
    using Clock = std::chrono::steady_clock;
    Timer(Loop& loop, std::function<void()> on_expiry) : loop_{loop}, on_expiry_{std::move(on_expiry)} {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void arm(Clock::duration from_now);  // again: moves the deadline
    void cancel() noexcept { unlink(); }
    bool armed() const noexcept { return is_linked(); }

    friend bool operator<(const Timer& a, const Timer& b) noexcept { return a.deadline_ < b.deadline_; }

private:
    friend class Loop;
    Loop& loop_;
    std::function<void()> on_expiry_;
    Clock::time_point deadline_{};
};

// A coroutine that will be resumed in this round, or is parked somewhere. Unlinks itself when its frame is destroyed.
class Resumable : public AutoListHook {
public:
    std::coroutine_handle<> handle;
};

// Called once at the end of the round in which at_round_end() was asked for.
class RoundEnd : public AutoListHook {
public:
    virtual void on_round_end() = 0;

protected:
    ~RoundEnd() = default;
};

class Loop {
public:
    using Clock = std::chrono::steady_clock;

    Loop();  // throws std::system_error: a worker without epoll cannot start
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void run();
    void stop();                            // any thread
    void post(std::function<void()> work);  // any thread; runs on the loop, in order. After the loop has ended: dropped

    // In this round, after the events; in the order asked for.
    void resume_soon(Resumable& parked) noexcept {
        parked.unlink();
        runnable_.push_back(parked);
    }
    void at_round_end(RoundEnd& hook) noexcept {
        if (!hook.is_linked()) round_ends_.push_back(hook);
    }

    // For metrics: rounds and events so far; readable from any thread is not promised, ask by post().
    std::uint64_t rounds() const noexcept { return rounds_; }

private:
    friend class Watch;
    friend class Timer;
    using AutoList = intrusive::constant_time_size<false>;

    void set_alarm() noexcept;
    int wait(bool idle) noexcept;
    void deliver(int count);
    void take_mail();
    void fire_timers();
    void finish_round();

    static constexpr int round_cap = 64;  // 16 costs 7 % at 64 connections; more lets p99 drift
    Fd epoll_;
    // Rings at the first deadline. A timeout of epoll_wait would make the kernel set and take back a timer every round.
    Fd alarm_;
    Clock::time_point alarm_at_ = Clock::time_point::max();  // that: it is not set
    // Until then a timer is due that was armed for less than a millisecond. Few of those ever ring: a timeout costs
    // nothing once they are cancelled, and the alarm would ring all the same.
    Clock::time_point near_ = Clock::time_point::min();
    Fd mailbox_bell_;
    std::mutex mailbox_lock_;  // taken by post() and once per bell, never on the path of a byte
    std::vector<std::function<void()>> mailbox_;
    bool stopping_ = false;
    epoll_event fetched_[round_cap];
    int fetched_count_ = 0;
    int fetched_next_ = 0;
    std::uint64_t rounds_ = 0;
    intrusive::multiset<Timer, AutoList> timers_;
    intrusive::list<Resumable, AutoList> runnable_;
    intrusive::list<RoundEnd, AutoList> round_ends_;
};

}
