// SPDX-License-Identifier: Apache-2.0
// A bounded queue of access log entries from one worker to the writer thread: no lock, no wait on either side.
//
//   worker -> [ .. filling ] -> [ full ] -> [ being read .. ] -> writer      chunks of 32 entries, linked
//                    ^------------- one spare chunk -------------'
//
// A plain ring of the same bound would touch all its slots sooner or later and keep megabytes for bursts that are over.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <culvert/telemetry/access_log.hpp>

namespace culvert::telemetry {

class EntryRing {
public:
    explicit EntryRing(std::size_t bound);
    ~EntryRing();
    EntryRing(const EntryRing&) = delete;
    EntryRing& operator=(const EntryRing&) = delete;

    // The worker's side. False, and the entry untouched, when the bound is reached or memory is out.
    bool push(AccessEntry&& entry) noexcept;

    // The writer's side. False when nothing waits.
    bool pop(AccessEntry& entry) noexcept;
    bool empty() const noexcept { return tail_.load() == head_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t chunk_entries = 32;
    struct Chunk {
        AccessEntry entries[chunk_entries];
        Chunk* next = nullptr;
    };
    Chunk* fresh_chunk() noexcept;
    void recycle(Chunk* chunk) noexcept;

    const std::uint64_t bound_;

    // Written by the worker. Each side's line of the cache is its own.
    alignas(64) std::atomic<std::uint64_t> tail_{0};  // entries pushed so far
    std::uint64_t known_head_ = 0;                    // as last read: head_ is looked at only when this one says full
    Chunk* filling_;

    alignas(64) std::atomic<std::uint64_t> head_{0};  // entries popped so far
    Chunk* reading_;

    alignas(64) std::atomic<Chunk*> spare_{nullptr};
};

}
