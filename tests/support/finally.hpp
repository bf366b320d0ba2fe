// SPDX-License-Identifier: Apache-2.0
// Undoes what a case did to the shared world, however the case ends.
#pragma once
#include <functional>
#include <utility>

namespace culvert::test {

class Finally {
public:
    explicit Finally(std::function<void()> undo) : undo_{std::move(undo)} {}
    Finally(const Finally&) = delete;
    ~Finally() { undo_(); }

private:
    std::function<void()> undo_;
};

}
