// SPDX-License-Identifier: Apache-2.0
#include "framing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace culvert::grpc {

std::string framed(std::string_view message) {
    const auto size = static_cast<std::uint32_t>(message.size());
    std::string bytes{'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                      static_cast<char>(size)};
    bytes += message;
    return bytes;
}

std::optional<Status> Unframer::take(std::string_view bytes, std::vector<std::string>& messages) {
    while (!bytes.empty()) {
        if (head_size_ < sizeof head_) {
            const std::size_t n = std::min(sizeof head_ - head_size_, bytes.size());
            std::copy_n(bytes.data(), n, head_ + head_size_);
            head_size_ += n;
            bytes.remove_prefix(n);
            if (head_size_ < sizeof head_) return std::nullopt;
            if (auto why = read_head()) return why;
        }
        const std::size_t n = std::min(length_ - body_.size(), bytes.size());
        body_.append(bytes.data(), n);
        bytes.remove_prefix(n);
        if (body_.size() < length_) return std::nullopt;
        messages.push_back(std::exchange(body_, {}));
        head_size_ = 0;
    }
    return std::nullopt;
}

std::optional<Status> Unframer::read_head() {
    length_ = 0;
    for (int i = 1; i < 5; ++i) length_ = length_ << 8 | static_cast<unsigned char>(head_[i]);
    if (head_[0] != 0)
        return Status{Code::internal, "the server sent a compressed message, which was not offered",
                      Origin::connection};
    if (length_ > most_)
        return Status{Code::resource_exhausted,
                      fmt::format("the server announced a message of {} bytes, more than {}", length_, most_),
                      Origin::us};
    return std::nullopt;
}

}
