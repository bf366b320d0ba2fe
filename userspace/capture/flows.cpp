// SPDX-License-Identifier: Apache-2.0
#include <culvert/capture/flows.hpp>

#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace culvert::capture {

using base::Result;

namespace {

constexpr std::uint32_t window_rows = CV_FLOW_NEAR_ROWS;
static_assert(window_rows * sizeof(cv_flow) % (64 * 1024) == 0, "windows begin at pages, whatever their size");

std::atomic_ref<__u64> owner_of(cv_flow& row) {
    return std::atomic_ref{row.owner};
}

template <std::size_t N>
void copy_cut(char (&to)[N], std::string_view from) {
    std::size_t length = std::min(from.size(), N - 1);
    std::memcpy(to, from.data(), length);
    std::memset(to + length, 0, N - length);
}

// All zero, so that a dump does not show the dead.
void free_row(cv_flow& row) {
    static_assert(offsetof(cv_flow, owner) == 0);
    std::memset(reinterpret_cast<char*>(&row) + sizeof row.owner, 0, sizeof row - sizeof row.owner);
    owner_of(row).store(0, std::memory_order_release);
}

}

Flow::~Flow() {
    if (row_) free_row(*row_);
}

void Flow::asked_for(const base::SocketAddress& target) noexcept {
    if (!row_) return;
    std::ranges::copy(target.ip.bytes, row_->destination_ip);
    row_->destination_port = target.port;
}

void Flow::identify(std::string_view source, std::string_view destination) noexcept {
    if (!row_) return;
    copy_cut(row_->source, source);
    copy_cut(row_->destination, destination);
}

void Flow::took(cv_flow_path path) noexcept {
    if (row_) row_->path = path;
}

void Flow::moved(std::uint64_t from_source, std::uint64_t to_source) noexcept {
    if (!row_) return;
    row_->from_source_bytes += from_source;
    row_->to_source_bytes += to_source;
}

Result<FlowTable> FlowTable::map(int flows_map, std::uint32_t rows) {
    FlowTable table;
    table.count_ = rows;
    table.flows_map_ = flows_map;
    table.mapped_ = std::make_unique<Window[]>(table.windows());
    if (!table.row(0)) return base::errno_while("map cv_flows into memory");
    return table;
}

FlowTable::FlowTable(FlowTable&& other) noexcept {
    *this = std::move(other);
}

FlowTable& FlowTable::operator=(FlowTable&& other) noexcept {
    std::swap(mapped_, other.mapped_);
    std::swap(count_, other.count_);
    std::swap(flows_map_, other.flows_map_);
    return *this;
}

FlowTable::~FlowTable() {
    if (!mapped_) return;
    for (std::uint32_t window = 0; window < windows(); ++window)
        if (cv_flow* rows = mapped_[window].load()) unmap_window(window, rows);
}

std::uint32_t FlowTable::windows() const noexcept {
    return (count_ + window_rows - 1) / window_rows;
}

std::uint32_t FlowTable::rows_in(std::uint32_t window) const noexcept {
    return std::min(window_rows, count_ - window * window_rows);
}

cv_flow* FlowTable::map_window(std::uint32_t window) const noexcept {
    auto offset = static_cast<off_t>(window) * static_cast<off_t>(window_rows * sizeof(cv_flow));
    void* memory =
        ::mmap(nullptr, rows_in(window) * sizeof(cv_flow), PROT_READ | PROT_WRITE, MAP_SHARED, flows_map_, offset);
    return memory == MAP_FAILED ? nullptr : static_cast<cv_flow*>(memory);
}

void FlowTable::unmap_window(std::uint32_t window, cv_flow* rows) const noexcept {
    ::munmap(rows, rows_in(window) * sizeof(cv_flow));
}

cv_flow* FlowTable::row(std::uint32_t index) noexcept {
    std::uint32_t window = index / window_rows;
    cv_flow* rows = mapped_[window].load(std::memory_order_acquire);
    if (!rows) {
        cv_flow* fresh = map_window(window);
        if (!fresh) return nullptr;
        if (mapped_[window].compare_exchange_strong(rows, fresh, std::memory_order_acq_rel))
            rows = fresh;
        else
            unmap_window(window, fresh);  // another worker was faster: `rows` is its
    }
    return rows + index % window_rows;
}

Flow FlowTable::claim(int fd) noexcept {
    __u64 cookie = 0;
    socklen_t size = sizeof cookie;
    if (count_ == 0 || ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return {};
    for (std::uint32_t attempt = 0; attempt < cv_flow_tries(count_); ++attempt) {
        cv_flow* own = row(cv_flow_row(cookie, attempt, count_));
        if (!own) return {};
        __u64 expected = cookie;
        // No other socket ever has this cookie. None has it: the table was full.
        if (owner_of(*own).compare_exchange_strong(expected, cookie | CV_FLOW_HELD, std::memory_order_acquire))
            return Flow{own};
    }
    return {};
}

// Windows that nobody needed are mapped for the moment.
template <class Visit>
void FlowTable::each_row(Visit visit) const noexcept {
    for (std::uint32_t window = 0; window < windows(); ++window) {
        cv_flow* rows = mapped_[window].load(std::memory_order_acquire);
        cv_flow* borrowed = rows ? nullptr : map_window(window);
        if (!rows) rows = borrowed;
        if (!rows) continue;
        std::for_each_n(rows, rows_in(window), visit);
        if (borrowed) unmap_window(window, borrowed);
    }
}

void FlowTable::free_abandoned() noexcept {
    each_row([](cv_flow& row) {
        if (owner_of(row).load(std::memory_order_relaxed) & CV_FLOW_HELD) free_row(row);
    });
}

void FlowTable::free_unclaimed(std::chrono::nanoseconds age) noexcept {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    each_row([=](cv_flow& row) {
        __u64 owner = owner_of(row).load(std::memory_order_acquire);
        if (owner == 0 || owner & CV_FLOW_HELD) return;
        std::chrono::nanoseconds start{row.start_ns};  // 0: being written right now
        if (start.count() == 0 || now - start < age) return;
        if (owner_of(row).compare_exchange_strong(owner, owner | CV_FLOW_HELD)) free_row(row);
    });
}

std::uint32_t FlowTable::used() const noexcept {
    std::uint32_t busy = 0;
    each_row([&busy](cv_flow& row) { busy += owner_of(row).load(std::memory_order_relaxed) != 0; });
    return busy;
}

}
