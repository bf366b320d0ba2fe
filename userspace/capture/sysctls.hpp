// SPDX-License-Identifier: Apache-2.0
// The three switches that bring a leg's replies home over lo: tcp_fwmark_accept, fwmark_reflect for both families. With
// DNS a fourth, by which nameservers' answers to us are no martians: src_valid_mark, see cv_in_guard.
#pragma once
#include <array>
#include <cstdint>

#include <culvert/base/fd.hpp>
#include <culvert/base/result.hpp>

namespace culvert::capture {

// Owns: the open files, which belong to the namespace they were opened in; so reading and writing needs no visit there.
class Sysctls {
public:
    static constexpr std::uint8_t untouched = 0xff;  // not written
    struct Values {
        std::uint8_t tcp_fwmark_accept = 0;
        std::uint8_t fwmark_reflect = 0;
        std::uint8_t fwmark_reflect6 = 0;  // of a kernel without IPv6: 0
        std::uint8_t src_valid_mark = untouched;
        friend bool operator==(const Values&, const Values&) = default;
    };
    // In the calling thread's namespace.
    static base::Result<Sysctls> open();
    base::Result<Values> read() const;
    base::Result<> write(const Values&) const;

private:
    std::array<base::Fd, 4> files_;  // IPv6's is empty without it
};

}
