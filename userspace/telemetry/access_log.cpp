// SPDX-License-Identifier: Apache-2.0
#include <culvert/telemetry/access_log.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include <culvert/base/shortage.hpp>
#include <culvert/telemetry/counters.hpp>

#include "entry_ring.hpp"
#include "log_output.hpp"

namespace culvert::telemetry {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto gather = 10ms;            // one wake-up and one write for what ends in that time
constexpr auto retry_full_disk = 200ms;  // nothing tells us when there is room again
constexpr auto last_flush = 1s;
constexpr auto between_warnings = 60s;
constexpr std::size_t write_size = 64 * 1024;

std::uint64_t lines_in(std::string_view text) {
    return static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

// Nobody will ever read it, as opposed to: not now.
bool is_final(int error) {
    return error == EPIPE || error == EBADF || error == EINVAL || error == ECONNRESET;
}

}

class AccessLog::Impl {
public:
    Impl(LogOutput output, base::Fd bell, base::log::Format format, unsigned workers, std::size_t ring_entries)
        : output_{std::move(output)}, bell_{std::move(bell)}, format_{format}, workers_(workers) {
        for (auto& worker : workers_) worker = std::make_unique<Worker>(ring_entries);
        start_thread();
    }
    ~Impl() {
        stopping_ = true;
        ring_bell();
        writer_.join();
    }

    void submit(unsigned worker, AccessEntry&& entry) noexcept {
        Worker& own = *workers_[worker];
        if (!own.ring.push(std::move(entry))) return own.dropped.add();
        if (asleep_.load() && asleep_.exchange(false)) ring_bell();
    }
    void reopen() {
        reopening_ = true;
        ring_bell();
    }
    AccessLogStats stats() const noexcept {
        AccessLogStats all{written_.get(), 0, lost_.get(), write_errors_.get()};
        for (const auto& worker : workers_) all.dropped += worker->dropped.get();
        return all;
    }

private:
    struct Worker {
        explicit Worker(std::size_t ring_entries) : ring{ring_entries} {}
        EntryRing ring;
        alignas(64) Counter dropped;
    };

    // The worker's side.
    void ring_bell() noexcept { ::eventfd_write(bell_.get(), 1); }

    // The writer thread's side.
    void start_thread();
    void run();
    bool take_entries();
    bool write_pending();
    void give_up_pending();
    void open_again();
    void last_words();
    void rest();
    void rest_until_writable();
    void wait(Clock::duration limit, bool or_writable = false);
    void warn_sometimes(const char* what_happens, int error);
    void say_that_it_goes_on();
    void skip_to_next_line();
    void leave_what_others_cut();
    bool anything_queued() const noexcept {
        return std::ranges::any_of(workers_, [](const auto& worker) { return !worker->ring.empty(); });
    }
    bool asked() const noexcept { return stopping_ || reopening_; }
    std::string_view pending() const noexcept {
        return std::string_view{pending_.data(), pending_.size()}.substr(pending_written_);
    }

    LogOutput output_;
    base::Fd bell_;  // an eventfd: rung when the writer sleeps and there is something to do
    const base::log::Format format_;
    std::vector<std::unique_ptr<Worker>> workers_;
    alignas(64) std::atomic<bool> asleep_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<bool> reopening_{false};

    fmt::memory_buffer pending_;  // formatted lines on their way out
    std::size_t pending_written_ = 0;
    int refused_with_ = 0;  // why the output did not take all of pending_
    Clock::time_point next_warning_{};
    bool stuck_ = false;  // said, and not yet taken back
    std::int64_t size_when_stuck_ = 0;
    Counter written_, lost_, write_errors_;
    std::thread writer_;
};

// Signals are for the main thread. SIGPIPE and SIGXFSZ of our writes must not end the process: blocked, they are errno.
void AccessLog::Impl::start_thread() {
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    writer_ = std::thread{[this] { run(); }};
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::pthread_setname_np(writer_.native_handle(), "access-log");
}

void AccessLog::Impl::run() {
    while (!stopping_) {
        if (reopening_.exchange(false)) open_again();
        while (write_pending() && take_entries() && !asked()) {
        }
        if (refused_with_)
            rest_until_writable();
        else
            rest();
    }
    last_words();
}

// Formats what waits in the rings, up to one write's size. False when there was nothing.
bool AccessLog::Impl::take_entries() {
    AccessEntry entry;
    for (auto& worker : workers_)
        while (pending_.size() < write_size && worker->ring.pop(entry)) {
            const std::size_t before = pending_.size();
            base::shortage::guard(
                "a line of the access log", [&] { format_entry(pending_, entry, format_); },
                [&] {
                    pending_.resize(before);  // no half line
                    lost_.add();
                });
        }
    return pending_.size() != 0;
}

// True when nothing is pending any more: written, or given up because it never can be.
bool AccessLog::Impl::write_pending() {
    refused_with_ = 0;
    if (pending().empty()) return true;
    if (stuck_) leave_what_others_cut();
    auto text = pending();
    auto [bytes, error] = output_.write(text);
    written_.add(lines_in(text.substr(0, bytes)));
    pending_written_ += bytes;
    if (error == EAGAIN) {
        refused_with_ = error;
        return false;
    }
    if (error) {
        size_when_stuck_ = output_.size();  // before anybody hears of it, and empties the file
        write_errors_.add();
        if (!is_final(error)) {
            warn_sometimes("cannot be written, lines wait and new ones may be dropped", error);
            refused_with_ = error;
            return false;
        }
        warn_sometimes("has no reader, lines are lost", error);
    }
    give_up_pending();  // usually nothing
    if (!error && std::exchange(stuck_, false)) say_that_it_goes_on();
    return true;
}

void AccessLog::Impl::give_up_pending() {
    lost_.add(lines_in(pending()));
    pending_.clear();
    pending_written_ = 0;
}

// What is pending still belongs to the old file. If that one takes no more, whole lines move on to the new one, and a
// line whose first half is in the old file is lost.
void AccessLog::Impl::open_again() {
    if (output_.path().empty()) return;
    auto fresh = LogOutput::open(output_.path());
    if (!fresh) {
        base::log::warn("telemetry", "{}; going on with the file that was open before", fresh.error().to_string());
        return;
    }
    write_pending();
    skip_to_next_line();
    output_ = std::move(*fresh);
}

// In a new file, or one that was emptied, the rest of a line would be half a line.
void AccessLog::Impl::skip_to_next_line() {
    if (pending_written_ == 0 || pending_.size() == pending_written_ || pending_[pending_written_ - 1] == '\n') return;
    pending_written_ += pending().find('\n') + 1;
    lost_.add();
}

// Who needed room may have emptied the file.
void AccessLog::Impl::leave_what_others_cut() {
    if (output_.size() < size_when_stuck_) skip_to_next_line();
}

void AccessLog::Impl::last_words() {
    auto deadline = Clock::now() + last_flush;
    for (;;) {
        while (write_pending() && take_entries()) {
        }
        if (refused_with_ != EAGAIN || Clock::now() >= deadline) break;
        wait(deadline - Clock::now(), true);
    }
    give_up_pending();
    AccessEntry entry;
    for (auto& worker : workers_)
        while (worker->ring.pop(entry)) lost_.add();
    if (lost_.get() != 0)
        base::log::warn("telemetry", "access log: {} lines never reached {}", lost_.get(), output_.name());
}

// Sleeps until a worker rings, then a little longer, so that one write serves many entries. With traffic the second
// part is all there is, and no worker makes a syscall.
void AccessLog::Impl::rest() {
    asleep_ = true;
    if (!anything_queued() && !asked()) wait(Clock::duration::max());
    asleep_ = false;
    if (!asked()) wait(gather);
}

void AccessLog::Impl::rest_until_writable() {
    if (asked()) return;
    if (refused_with_ == EAGAIN)
        wait(Clock::duration::max(), true);
    else
        wait(retry_full_disk);
}

// Until the bell, the time, or (asked for) room in the output.
void AccessLog::Impl::wait(Clock::duration limit, bool or_writable) {
    pollfd what[2]{{bell_.get(), POLLIN, 0}, {output_.fd(), POLLOUT, 0}};
    int milliseconds = -1;
    if (limit != Clock::duration::max())
        milliseconds = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(limit).count());
    ::poll(what, or_writable ? 2 : 1, milliseconds);
    eventfd_t rung;
    if (what[0].revents) ::eventfd_read(bell_.get(), &rung);
}

void AccessLog::Impl::warn_sometimes(const char* what_happens, int error) {
    if (Clock::now() < next_warning_) return;
    next_warning_ = Clock::now() + between_warnings;
    stuck_ = true;
    auto [written, dropped, lost, errors] = stats();
    base::log::warn("telemetry", "access log: {} {}: {}; so far {} written, {} dropped, {} lost", output_.name(),
                    what_happens, base::errno_while("", error).cause(), written, dropped, lost);
}

void AccessLog::Impl::say_that_it_goes_on() {
    auto [written, dropped, lost, errors] = stats();
    base::log::warn("telemetry", "access log: {} takes lines again; so far {} written, {} dropped, {} lost",
                    output_.name(), written, dropped, lost);
}

base::Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, base::log::Format format,
                                                         unsigned workers, std::size_t ring_entries) {
    auto output = LogOutput::open(path);
    if (!output) return output.error();
    base::Fd bell{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!bell) return base::errno_while("make the access log's eventfd");
    auto impl = std::make_unique<Impl>(std::move(*output), std::move(bell), format, workers, ring_entries);
    return std::unique_ptr<AccessLog>{new AccessLog{std::move(impl)}};
}

AccessLog::AccessLog(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
AccessLog::~AccessLog() = default;
void AccessLog::submit(unsigned worker, AccessEntry&& entry) noexcept {
    impl_->submit(worker, std::move(entry));
}
void AccessLog::reopen() {
    impl_->reopen();
}
AccessLogStats AccessLog::stats() const noexcept {
    return impl_->stats();
}

}
