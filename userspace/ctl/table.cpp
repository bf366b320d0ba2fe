// SPDX-License-Identifier: Apache-2.0
#include "table.hpp"

#include <algorithm>

namespace culvert::ctl {
namespace {

constexpr std::size_t gap = 2;

// Letters, not bytes: UTF-8's further bytes take no room.
std::size_t length(const std::string& text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char byte) { return (byte & 0xc0) != 0x80; }));
}

// The end says more than the beginning: identities and paths begin alike.
std::string cut(const std::string& text, std::size_t width) {
    std::size_t letters = length(text);
    if (letters <= width) return text;
    std::size_t from = 0;
    for (std::size_t drop = letters - width + 1; from < text.size(); ++from)
        if ((text[from] & 0xc0) != 0x80 && drop-- == 0) break;
    return "…" + text.substr(from);
}

}

void Table::add(std::vector<std::string> cells) {
    for (auto& cell : cells)
        std::ranges::replace_if(
            cell, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    cells.resize(columns_.size());
    rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(const Screen& screen) const {
    std::vector<std::size_t> widths;
    std::size_t total = gap * (columns_.size() - 1);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        widths.push_back(length(columns_[i].title));
        for (const auto& row : rows_) widths[i] = std::max(widths[i], length(row[i]));
        total += widths[i];
    }
    while (screen.width > 0 && total > screen.width) {
        std::size_t widest = columns_.size();
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            bool can =
                columns_[i].at_least > 0 && widths[i] > std::max(columns_[i].at_least, length(columns_[i].title));
            if (can && (widest == columns_.size() || widths[i] > widths[widest])) widest = i;
        }
        if (widest == columns_.size()) break;
        --widths[widest];
        --total;
    }
    return widths;
}

std::string Table::text(const Screen& screen) const {
    auto room = widths(screen);
    auto line = [&](const std::vector<std::string>& cells) {
        std::string text;
        for (std::size_t i = 0; i < cells.size(); ++i) {
            auto cell = cut(cells[i], room[i]);
            std::string blanks(room[i] - length(cell), ' ');
            text += columns_[i].align == Column::Align::right ? blanks + cell : cell + blanks;
            text += std::string(gap, ' ');
        }
        text.erase(text.find_last_not_of(' ') + 1);
        return text;
    };
    std::vector<std::string> titles;
    for (const auto& column : columns_) titles.push_back(column.title);
    std::string text = (screen.colour ? "\033[1m" + line(titles) + "\033[0m" : line(titles)) + "\n";
    for (const auto& row : rows_) text += line(row) + "\n";
    return text;
}

}
