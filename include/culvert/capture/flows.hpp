// SPDX-License-Identifier: Apache-2.0
// The live flows, as `bpftool map dump name cv_flows` shows them: sockops writes a row when a captured connection
// is established, the worker that carries it keeps identities and bytes in the same, mapped memory.
//
// Any worker may call; a row has one owner at a time.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include <culvert/base/address.hpp>
#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>
#include <culvert/bpf/flow.h>

namespace culvert::capture {

class FlowTable;

// A worker's hold on one row; empty when the table was full (counted) or the kernel made none. Gives the row back.
class Flow {
public:
    Flow() = default;
    Flow(Flow&& other) noexcept : row_{std::exchange(other.row_, nullptr)} {}
    Flow& operator=(Flow&& other) noexcept {
        std::swap(row_, other.row_);
        return *this;
    }
    ~Flow();
    explicit operator bool() const noexcept { return row_ != nullptr; }

    // What was asked for, where rules in the pod have redirected it to a port of ours.
    void asked_for(const base::SocketAddress& target) noexcept;
    void identify(std::string_view source, std::string_view destination) noexcept;
    // Which way the bytes go. Decided after identify() or not at all.
    void took(cv_flow_path path) noexcept;
    // Bytes from the one who connected, and to it. Plain stores into mapped memory.
    void moved(std::uint64_t from_source, std::uint64_t to_source) noexcept;

private:
    friend class FlowTable;
    explicit Flow(cv_flow* row) noexcept : row_{row} {}
    cv_flow* row_ = nullptr;
};

// Mapped window by window, when a row of it is first used: what is mapped counts as this process's memory.
class FlowTable {
public:
    FlowTable() = default;
    // Maps the first window; borrows the map's descriptor for its life.
    static base::Result<FlowTable> map(int flows_map, std::uint32_t rows);
    FlowTable(FlowTable&&) noexcept;
    FlowTable& operator=(FlowTable&&) noexcept;
    ~FlowTable();

    // The row that sockops wrote for this socket (accepted by us, or our established inbound leg). One syscall.
    Flow claim(int fd) noexcept;

    // Frees the rows that a dead daemon's workers held.
    void free_abandoned() noexcept;
    // Frees the rows of connections that ended before any worker had them: those are so old and nobody's.
    void free_unclaimed(std::chrono::nanoseconds age) noexcept;
    // For metrics: how full. Walks the table.
    std::uint32_t used() const noexcept;
    std::uint32_t size() const noexcept { return count_; }

private:
    using Window = std::atomic<cv_flow*>;  // null until somebody needs it
    std::uint32_t windows() const noexcept;
    cv_flow* map_window(std::uint32_t window) const noexcept;
    void unmap_window(std::uint32_t window, cv_flow* rows) const noexcept;
    std::uint32_t rows_in(std::uint32_t window) const noexcept;
    cv_flow* row(std::uint32_t index) noexcept;
    template <class Visit>
    void each_row(Visit visit) const noexcept;

    std::unique_ptr<Window[]> mapped_;
    std::uint32_t count_ = 0;
    int flows_map_ = -1;
};

}
