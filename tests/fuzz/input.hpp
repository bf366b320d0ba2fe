// SPDX-License-Identifier: Apache-2.0
// A fuzzer's bytes, read from the front as numbers, texts and pieces. At the end everything is zero or empty.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace fuzz {

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) noexcept : left_{data, size} {}

    bool empty() const noexcept { return left_.empty(); }

    std::uint32_t number(std::size_t bytes) noexcept {
        std::uint32_t value = 0;
        for (std::uint8_t byte : take(bytes)) value = value << 8 | byte;
        return value;
    }
    std::span<const std::uint8_t> take(std::size_t bytes) noexcept {
        auto taken = left_.first(std::min(bytes, left_.size()));
        left_ = left_.subspan(taken.size());
        return taken;
    }
    std::string text(std::size_t bytes) {
        auto taken = take(bytes);
        return {taken.begin(), taken.end()};
    }
    // Up to the next of these, or the end.
    std::string text_until(std::uint8_t stop) {
        auto end = std::find(left_.begin(), left_.end(), stop);
        auto taken = text(static_cast<std::size_t>(end - left_.begin()));
        take(1);
        return taken;
    }
    std::string rest() { return text(left_.size()); }

private:
    std::span<const std::uint8_t> left_;
};

}
