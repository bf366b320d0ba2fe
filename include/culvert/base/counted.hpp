// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace culvert::base {

// One more, while it lives. Borrows the count.
class Counted {
public:
    explicit Counted(std::uint32_t& count) noexcept : count_{count} { ++count_; }
    ~Counted() { --count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

private:
    std::uint32_t& count_;
};

}
