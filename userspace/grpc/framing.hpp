// SPDX-License-Identifier: Apache-2.0
// Messages on a stream of bytes: a flag, four bytes of length, the message.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <culvert/grpc/status.hpp>

namespace culvert::grpc {

std::string framed(std::string_view message);

class Unframer {
public:
    explicit Unframer(std::size_t most_bytes) noexcept : most_{most_bytes} {}

    // Appends the messages that are whole now. Memory grows with what has come, not with what was announced.
    // A status: why the call must end.
    std::optional<Status> take(std::string_view bytes, std::vector<std::string>& messages);
    bool in_a_message() const noexcept { return head_size_ > 0; }

private:
    std::optional<Status> read_head();

    const std::size_t most_;
    char head_[5]{};
    std::size_t head_size_ = 0;
    std::size_t length_ = 0;
    std::string body_;
};

}
