// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>

#include <algorithm>
#include <vector>

#include <culvert/dump/mesh.hpp>

namespace culvert::dump {
namespace {

using boost::json::key_value_pair;
using boost::json::value;

class Printer {
public:
    void print(const value& what) {
        if (const auto* object = what.if_object()) {
            std::vector<const key_value_pair*> pairs;
            for (const auto& pair : *object) pairs.push_back(&pair);
            std::ranges::sort(pairs, {}, [](const auto* pair) { return pair->key(); });
            block('{', '}', pairs, [this](const auto* pair) {
                text += boost::json::serialize(pair->key());
                text += ": ";
                print(pair->value());
            });
        } else if (const auto* array = what.if_array()) {
            block('[', ']', *array, [this](const value& one) { print(one); });
        } else {
            text += boost::json::serialize(what);
        }
    }
    std::string text;

private:
    template <class List, class Each>
    void block(char begin, char end, const List& list, Each each) {
        text += begin;
        depth_ += 2;
        bool first = true;
        for (const auto& one : list) {
            if (!first) text += ',';
            first = false;
            line();
            each(one);
        }
        depth_ -= 2;
        if (!first) line();
        text += end;
    }
    void line() { text.append(1, '\n').append(depth_, ' '); }

    std::size_t depth_ = 0;
};

}

std::string pretty(const value& value) {
    Printer printer;
    printer.print(value);
    return std::move(printer.text);
}

}
