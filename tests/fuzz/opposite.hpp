// SPDX-License-Identifier: Apache-2.0
// nghttp2 as a well-behaved other end: says what it is told as far as the protocol allows, and refuses what Culvert
// should not have said.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "input.hpp"

struct nghttp2_session;

namespace fuzz {

class Opposite {
public:
    explicit Opposite(bool is_client);
    ~Opposite();
    Opposite(const Opposite&) = delete;
    Opposite& operator=(const Opposite&) = delete;

    void act(std::uint32_t what, Input& input);
    void hear(std::span<const std::byte> words);
    std::string to_say();

private:
    struct Body {
        std::size_t left = 0;
        bool ends = false;
    };
    struct Calls;
    std::int32_t some_stream(Input& input) const;
    void submit_body(std::int32_t stream, Input& input);

    const bool is_client_;
    nghttp2_session* session_ = nullptr;
    bool says_errors_ = false;              // because it was told to
    std::map<std::int32_t, Body> streams_;  // those that are open
};

}
