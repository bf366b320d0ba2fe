// SPDX-License-Identifier: Apache-2.0
#include "versions.hpp"

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include "version.hpp"

namespace culvert::node {

std::string versions() {
    std::string libbpf = ::libbpf_version_string();  // "v1.5"
    return fmt::format("culvertd {} ({})\n", version, commit) +
           fmt::format("compiler: {}, {}\n", CULVERT_COMPILER, CULVERT_BUILD) +
           fmt::format("OpenSSL: {} (built with {})\n", ::OpenSSL_version(OPENSSL_VERSION_STRING),
                       OPENSSL_VERSION_STR) +
           fmt::format("nghttp2: {} (built with {})\n", ::nghttp2_version(0)->version_str, NGHTTP2_VERSION) +
           fmt::format("libbpf: {} (built with {}.{})\n", libbpf.substr(libbpf.find_first_of("0123456789")),
                       LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION);
}

}
