// SPDX-License-Identifier: Apache-2.0
#include "gzip.hpp"

#include <zlib.h>

#include <utility>

namespace culvert::admin {

bool takes_gzip(std::string_view accepted) {
    const auto at = accepted.find("gzip");
    if (at == std::string_view::npos) return false;
    auto weight = accepted.substr(at + 4);
    weight = weight.substr(0, weight.find(','));
    const auto quality = weight.find("q=0");  // not wanted; "q=0.5" is
    return quality == std::string_view::npos || weight.find_first_of("123456789", quality) != std::string_view::npos;
}

void gzip(Answer& answer) {
    constexpr int with_gzip_header = 15 + 16;
    z_stream out{};
    if (deflateInit2(&out, Z_BEST_SPEED, Z_DEFLATED, with_gzip_header, 8, Z_DEFAULT_STRATEGY) != Z_OK) return;
    std::string small(answer.body.size(), '\0');
    out.next_in = reinterpret_cast<Bytef*>(answer.body.data());
    out.avail_in = static_cast<uInt>(answer.body.size());
    out.next_out = reinterpret_cast<Bytef*>(small.data());
    out.avail_out = static_cast<uInt>(small.size());
    const bool whole = deflate(&out, Z_FINISH) == Z_STREAM_END;
    small.resize(small.size() - out.avail_out);
    deflateEnd(&out);
    if (!whole) return;
    answer.body = std::move(small);
    answer.encoding = "gzip";
}

}
