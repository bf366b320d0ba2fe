// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/loop.hpp>

#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include <culvert/base/shortage.hpp>

namespace culvert::base {
namespace {

constexpr auto near = std::chrono::milliseconds{1};

}

Result<> Watch::start(int fd, std::uint32_t events) {
    epoll_event interest{};
    interest.events = events | EPOLLET;
    interest.data.ptr = this;
    if (::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) return errno_while("watch a descriptor");
    fd_ = fd;
    return {};
}

void Watch::stop() noexcept {
    if (fd_ < 0) return;
    ::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, std::exchange(fd_, -1), nullptr);
    for (int i = loop_.fetched_next_; i < loop_.fetched_count_; ++i)
        if (loop_.fetched_[i].data.ptr == this) loop_.fetched_[i].data.ptr = nullptr;
}

void Timer::arm(Clock::duration from_now) {
    unlink();
    // From the real clock, not the round's: a timer armed late in a long round must not be early.
    deadline_ = Clock::now() + from_now;
    loop_.timers_.insert(*this);
    if (from_now < near) loop_.near_ = std::max(loop_.near_, deadline_);
}

Loop::Loop()
    : epoll_{::epoll_create1(EPOLL_CLOEXEC)},
      alarm_{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)},
      mailbox_bell_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    auto watch = [this](const Fd& fd, void* known_by) {
        epoll_event interest{};
        interest.events = EPOLLIN | EPOLLET;
        interest.data.ptr = known_by;
        return fd && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &interest) == 0;
    };
    if (!epoll_ || !watch(alarm_, &alarm_) || !watch(mailbox_bell_, this))
        throw std::system_error{errno, std::system_category(), "start an event loop"};
}

Loop::~Loop() = default;

void Loop::post(std::function<void()> work) {
    bool ring;
    {
        std::lock_guard lock{mailbox_lock_};
        ring = mailbox_.empty();
        mailbox_.push_back(std::move(work));
    }
    std::uint64_t one = 1;
    if (ring && ::write(mailbox_bell_.get(), &one, sizeof one) < 0)
        CV_CHECK(errno == EAGAIN, "an eventfd that we hold takes a write or is already full");
}

void Loop::stop() {
    post([this] { stopping_ = true; });
}

void Loop::run() {
    while (!stopping_) {
        bool idle = runnable_.empty() && round_ends_.empty();
        deliver(wait(idle));
        fire_timers();
        finish_round();
        ++rounds_;
    }
}

// Only ever to an earlier time: one that was cancelled or moved costs a round when the alarm rings.
void Loop::set_alarm() noexcept {
    if (timers_.empty() || timers_.begin()->deadline_ >= alarm_at_) return;
    alarm_at_ = timers_.begin()->deadline_;
    auto since_boot = std::chrono::nanoseconds{alarm_at_.time_since_epoch()}.count();
    itimerspec when{};
    when.it_value = {static_cast<time_t>(since_boot / 1'000'000'000), static_cast<long>(since_boot % 1'000'000'000)};
    CV_CHECK(::timerfd_settime(alarm_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0, "a time after boot can be set");
}

int Loop::wait(bool idle) noexcept {
    if (near_ != Clock::time_point::min()) {
        auto now = Clock::now();
        if (now < near_ && !timers_.empty() && timers_.begin()->deadline_ <= near_) {
            auto left = std::max<std::chrono::nanoseconds>(timers_.begin()->deadline_ - now, {});
            timespec limit{.tv_sec = 0, .tv_nsec = idle ? left.count() : 0};
            int count = ::epoll_pwait2(epoll_.get(), fetched_, round_cap, &limit, nullptr);
            if (count >= 0 || errno != ENOSYS) return count;  // Linux 5.11; without it the alarm does
        } else {
            near_ = Clock::time_point::min();
        }
    }
    set_alarm();
    return ::epoll_wait(epoll_.get(), fetched_, round_cap, idle ? -1 : 0);
}

void Loop::deliver(int count) {
    fetched_count_ = count > 0 ? count : 0;  // EINTR is an empty round
    for (fetched_next_ = 0; fetched_next_ < fetched_count_;) {
        epoll_event event = fetched_[fetched_next_++];
        if (event.data.ptr == this)
            take_mail();
        else if (event.data.ptr == &alarm_)
            alarm_at_ = Clock::time_point::max();
        else if (event.data.ptr)
            shortage::guard("an event", [&] { static_cast<Watch*>(event.data.ptr)->target_->on_ready(event.events); });
    }
    fetched_count_ = fetched_next_ = 0;
}

void Loop::take_mail() {
    std::uint64_t rings;
    [[maybe_unused]] auto n = ::read(mailbox_bell_.get(), &rings, sizeof rings);
    std::vector<std::function<void()>> mail;
    {
        std::lock_guard lock{mailbox_lock_};
        mail.swap(mailbox_);
    }
    for (auto& work : mail) shortage::guard("a change", work);
}

void Loop::fire_timers() {
    if (timers_.empty() || timers_.begin()->deadline_ >= alarm_at_) return;  // the clock is not even looked at
    auto now = Clock::now();
    while (!timers_.empty() && timers_.begin()->deadline_ <= now) {
        Timer& due = *timers_.begin();
        due.unlink();
        shortage::guard("a deadline", due.on_expiry_);  // may destroy `due`: nothing of it is touched afterwards
    }
}

void Loop::finish_round() {
    // What a resumed coroutine makes runnable runs in the next round, so that a busy pair cannot hold the flush back.
    intrusive::list<Resumable, AutoList> batch;
    batch.swap(runnable_);
    while (!batch.empty()) {
        auto handle = batch.front().handle;
        batch.pop_front();
        handle.resume();
    }
    intrusive::list<RoundEnd, AutoList> ends;
    ends.swap(round_ends_);
    while (!ends.empty()) {
        RoundEnd& hook = ends.front();
        ends.pop_front();
        shortage::guard("the end of a round", [&] { hook.on_round_end(); });
    }
}

}
