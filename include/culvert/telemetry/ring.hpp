// SPDX-License-Identifier: Apache-2.0
// A bounded queue from one worker to one other thread: no lock, no wait on either side.
//
//   worker -> [ .. filling ] -> [ full ] -> [ being read .. ] -> reader      chunks of 32 entries, linked
//                    ^------------- one spare chunk -------------'
//
// A plain ring of the same bound would touch all its slots sooner or later and keep megabytes for bursts that are over.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace culvert::telemetry {

template <class Entry>
class Ring {
    static_assert(std::is_nothrow_move_assignable_v<Entry>, "a worker's push() must not throw");

public:
    explicit Ring(std::size_t bound) : bound_{bound}, filling_{new Chunk}, reading_{filling_} {}
    ~Ring() {
        while (reading_) delete std::exchange(reading_, reading_->next);
        delete spare_.load();
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    // The worker's side. False, and the entry untouched, when the bound is reached or memory is out.
    bool push(Entry&& entry) noexcept {
        auto tail = tail_.load(std::memory_order_relaxed);
        if (tail - known_head_ >= bound_) {
            known_head_ = head_.load(std::memory_order_acquire);
            if (tail - known_head_ >= bound_) return false;
        }
        auto slot = tail % chunk_entries;
        if (slot == 0 && tail != 0) {
            Chunk* chunk = fresh_chunk();
            if (!chunk) return false;
            filling_->next = chunk;
            filling_ = chunk;
        }
        filling_->entries[slot] = std::move(entry);
        // In one total order with a reader's "I sleep" flag: either it sees this entry, or the worker sees the flag.
        tail_.store(tail + 1);
        return true;
    }

    // The reader's side. False when nothing waits.
    bool pop(Entry& entry) noexcept {
        auto head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load()) return false;
        auto slot = head % chunk_entries;
        if (slot == 0 && head != 0) recycle(std::exchange(reading_, reading_->next));
        entry = std::move(reading_->entries[slot]);
        head_.store(head + 1, std::memory_order_release);
        return true;
    }
    bool empty() const noexcept { return tail_.load() == head_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t chunk_entries = 32;
    struct Chunk {
        Entry entries[chunk_entries];
        Chunk* next = nullptr;
    };
    Chunk* fresh_chunk() noexcept {
        if (Chunk* spare = spare_.exchange(nullptr, std::memory_order_acquire)) return spare;
        return new (std::nothrow) Chunk;
    }
    void recycle(Chunk* chunk) noexcept {
        chunk->next = nullptr;
        delete spare_.exchange(chunk, std::memory_order_acq_rel);
    }

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
