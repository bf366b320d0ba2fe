// SPDX-License-Identifier: Apache-2.0
// Tables for people: aligned, and as wide as the terminal at most.
#pragma once
#include <string>
#include <vector>

#include "screen.hpp"

namespace culvert::ctl {

struct Column {
    std::string title;
    enum class Align { left, right } align = Align::left;
    // May be cut when there is too little room, down to this many letters; 0: never.
    std::size_t at_least = 0;
};

class Table {
public:
    explicit Table(std::vector<Column> columns) : columns_{std::move(columns)} {}
    // As many cells as columns. What is no printable letter becomes '?'.
    void add(std::vector<std::string> cells);
    bool empty() const noexcept { return rows_.empty(); }
    std::string text(const Screen& screen) const;

private:
    std::vector<std::size_t> widths(const Screen& screen) const;
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

}
