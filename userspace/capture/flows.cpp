// SPDX-License-Identifier: Apache-2.0
#include <culvert/capture/flows.hpp>

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include <culvert/bpf/sock.h>

namespace culvert::capture {

using base::Result;

namespace {

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

Result<FlowTable> FlowTable::map(int flows_map, int socks_map, std::uint32_t rows) {
    void* memory = ::mmap(nullptr, rows * sizeof(cv_flow), PROT_READ | PROT_WRITE, MAP_SHARED, flows_map, 0);
    if (memory == MAP_FAILED) return base::errno_while("map cv_flows into memory");
    FlowTable table;
    table.rows_ = static_cast<cv_flow*>(memory);
    table.count_ = rows;
    table.socks_map_ = socks_map;
    return table;
}

FlowTable::FlowTable(FlowTable&& other) noexcept
    : rows_{std::exchange(other.rows_, nullptr)}, count_{other.count_}, socks_map_{other.socks_map_} {}

FlowTable& FlowTable::operator=(FlowTable&& other) noexcept {
    std::swap(rows_, other.rows_);
    std::swap(count_, other.count_);
    std::swap(socks_map_, other.socks_map_);
    return *this;
}

FlowTable::~FlowTable() {
    if (rows_) ::munmap(rows_, count_ * sizeof(cv_flow));
}

Flow FlowTable::claim(int fd) noexcept {
    cv_sock known{};
    if (bpf_map_lookup_elem(socks_map_, &fd, &known) != 0) return {};
    if (known.note != CV_SOCK_FLOW || known.row >= count_) return {};
    cv_flow& row = rows_[known.row];
    __u64 expected = known.cookie;
    // Lost when the socket has closed meanwhile: the row may be another's by now.
    if (!owner_of(row).compare_exchange_strong(expected, known.cookie | CV_FLOW_HELD, std::memory_order_acquire))
        return {};
    return Flow{&row};
}

void FlowTable::free_abandoned() noexcept {
    for (std::uint32_t i = 0; i < count_; ++i)
        if (owner_of(rows_[i]).load(std::memory_order_relaxed) & CV_FLOW_HELD) free_row(rows_[i]);
}

std::uint32_t FlowTable::used() const noexcept {
    std::uint32_t busy = 0;
    for (std::uint32_t i = 0; i < count_; ++i)
        if (owner_of(rows_[i]).load(std::memory_order_relaxed) != 0) ++busy;
    return busy;
}

}
