// SPDX-License-Identifier: Apache-2.0
// The body of an answer that goes on until one side ends it.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace culvert::admin {

// Lives on: the door's io_context. Shared by the one who fills it and the door, each of which may go first.
class Feed {
public:
    // What a slow reader has not taken yet takes no more memory than that.
    explicit Feed(std::size_t most = std::size_t{256} * 1024) : most_{most} {}
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    // False: there is no room, and nothing of it is kept.
    bool push(std::string_view text) {
        if (closed_ || waiting_.size() + text.size() > most_) return false;
        waiting_ += text;
        wake_();
        return true;
    }
    // After what waits.
    void end() {
        ended_ = true;
        wake_();
    }
    // The reader has gone.
    bool closed() const noexcept { return closed_; }

    // The door's side.
    std::string take() { return std::exchange(waiting_, {}); }
    bool ended() const noexcept { return ended_; }
    void close() {
        closed_ = true;
        waiting_ = {};
        wake_();
    }
    void on_wake(std::function<void()> wake) { wake_ = std::move(wake); }

private:
    const std::size_t most_;
    std::string waiting_;
    bool ended_ = false;
    bool closed_ = false;
    std::function<void()> wake_ = [] {};
};

}
