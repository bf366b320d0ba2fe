// SPDX-License-Identifier: Apache-2.0
#include <culvert/base/shortage.hpp>

#include <atomic>
#include <chrono>

#include <culvert/base/log.hpp>

namespace culvert::base {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto between_lines = std::chrono::seconds{10};
std::atomic<std::uint64_t> times{0};
std::atomic<Clock::rep> next_line{0};

// So short that a string holds it in itself.
const Error out_of_memory{{}, "out of memory"};

}

void shortage::note(std::string_view lost) noexcept {
    auto so_far = ++times;
    auto now = Clock::now().time_since_epoch();
    auto due = next_line.load();
    if (now.count() < due) return;
    if (!next_line.compare_exchange_strong(due, (now + Clock::duration{between_lines}).count())) return;
    try {
        char text[160];
        auto end = fmt::format_to_n(text, sizeof text,
                                    "out of memory: {} was lost, {} times something was. Raise the memory limit, or "
                                    "lower limits.maxConnections",
                                    lost, so_far);
        log::write(log::Level::error, "base", {text, static_cast<std::size_t>(end.out - text)});
    } catch (const std::bad_alloc&) {
        next_line = due;  // the next one may have more luck
    }
}

std::uint64_t shortage::count() noexcept {
    return times.load(std::memory_order_relaxed);
}

Error shortage::error() noexcept {
    return out_of_memory;
}

void LetGo::operator()(const Error* error) const noexcept {
    if (error != &out_of_memory) delete error;
}

KeptError keep(const Error& error) noexcept {
    try {
        return KeptError{new Error{error}};
    } catch (const std::bad_alloc&) {
        shortage::note("the reason of an end");
        return KeptError{&out_of_memory};
    }
}

Error copy_of(const Error& error) noexcept {
    try {
        return error;
    } catch (const std::bad_alloc&) {
        shortage::note("the reason of an end");
        return out_of_memory;
    }
}

}
