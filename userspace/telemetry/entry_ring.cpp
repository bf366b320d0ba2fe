// SPDX-License-Identifier: Apache-2.0
#include "entry_ring.hpp"

#include <new>
#include <type_traits>
#include <utility>

namespace culvert::telemetry {

static_assert(std::is_nothrow_move_assignable_v<AccessEntry>, "a worker's submit() must not throw");

EntryRing::EntryRing(std::size_t bound) : bound_{bound}, filling_{new Chunk}, reading_{filling_} {}

EntryRing::~EntryRing() {
    while (reading_) delete std::exchange(reading_, reading_->next);
    delete spare_.load();
}

EntryRing::Chunk* EntryRing::fresh_chunk() noexcept {
    if (Chunk* spare = spare_.exchange(nullptr, std::memory_order_acquire)) return spare;
    return new (std::nothrow) Chunk;
}

void EntryRing::recycle(Chunk* chunk) noexcept {
    chunk->next = nullptr;
    delete spare_.exchange(chunk, std::memory_order_acq_rel);
}

bool EntryRing::push(AccessEntry&& entry) noexcept {
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
    // In one total order with the writer's "I sleep" flag: either it sees this entry, or the worker sees the flag.
    tail_.store(tail + 1);
    return true;
}

bool EntryRing::pop(AccessEntry& entry) noexcept {
    auto head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load()) return false;
    auto slot = head % chunk_entries;
    if (slot == 0 && head != 0) recycle(std::exchange(reading_, reading_->next));
    entry = std::move(reading_->entries[slot]);
    head_.store(head + 1, std::memory_order_release);
    return true;
}

}
