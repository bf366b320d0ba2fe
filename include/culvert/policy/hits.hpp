// SPDX-License-Identifier: Apache-2.0
// How often each policy decided: counted by the workers without a lock, read by the metrics door.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace culvert::policy {

// Of one policy; a line of its own for each worker.
class Hits {
public:
    explicit Hits(unsigned workers) : by_worker_(workers) {}
    void add(unsigned worker) noexcept {  // on that worker only
        auto& count = by_worker_[worker].count;
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    std::uint64_t sum() const noexcept {
        std::uint64_t total = 0;
        for (const Line& line : by_worker_) total += line.count.load(std::memory_order_relaxed);
        return total;
    }

private:
    struct alignas(64) Line {
        std::atomic<std::uint64_t> count{0};
    };
    std::vector<Line> by_worker_;
};

// Outlives every version of the policies, so that a count goes on when its policy changes. Any thread.
class Ledger {
public:
    explicit Ledger(unsigned workers) : workers_{workers} {}

    std::shared_ptr<Hits> of(const std::string& policy);
    // Forgets those that nobody uses any more.
    std::map<std::string, std::uint64_t> counts();

private:
    unsigned workers_;
    std::mutex lock_;
    std::map<std::string, std::weak_ptr<Hits>> hits_;
};

}
