// SPDX-License-Identifier: Apache-2.0
// The data path's side of a stream: takes and gives as the fuzzer says, leaves in the middle of any call, and holds the
// session to what StreamUser promises.
#pragma once
#include <culvert/hbone/stream.hpp>

#include "input.hpp"

namespace fuzz {

class User final : public culvert::hbone::StreamUser {
public:
    // `window`: what a stream's peer may send before it is read.
    explicit User(std::uint32_t window) noexcept : window_{window} {}

    void start(culvert::hbone::Stream stream, std::uint32_t habits);
    // One instruction.
    void act(Input& input);

    culvert::hbone::Filled fill(std::span<std::byte> room) override;
    void on_data(std::span<const std::byte> data) override;
    void on_batch_end() override;
    void on_end() override;
    void on_reset(const culvert::base::Error& why) override;

private:
    enum Habit : std::uint32_t {
        holds = 1,  // reads, but gives nothing back until told
        leaves_on_data = 2,
        leaves_on_end = 4,
        leaves_on_fill = 8,
        leaves_on_batch_end = 16,
        answers = 32,  // sends as much as it gets
        ends_too = 64,
    };
    void leave() { stream_ = {}; }
    void expect_call(const char* name);

    culvert::hbone::Stream stream_;
    std::uint32_t window_;
    std::uint32_t habits_ = 0;
    std::size_t to_send_ = 0, held_ = 0;
    bool ends_ = false, said_end_ = false, got_end_ = false, reset_ = false, in_batch_ = false;
};

}
