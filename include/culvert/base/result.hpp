// SPDX-License-Identifier: Apache-2.0
// How a function says that the world said no: Result<T>, an error code plus what we were doing.
#pragma once
#include <cerrno>
#include <iosfwd>
#include <string>
#include <string_view>

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

namespace culvert::base {

struct Error {
    boost::system::error_code code;
    std::string doing;  // what *we* were trying to do: "enter pod netns", "open tunnel to 10.0.0.7:15008"

    // For people: "open tunnel to 10.0.0.7:15008: Connection refused (os error 111)".
    // An error without a code is its text alone.
    std::string to_string() const;

    // The code's own text in the shape the field greps for: "Connection refused (os error 111)".
    std::string cause() const;
};

std::ostream& operator<<(std::ostream& out, const Error& error);

template <class T = void>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
public:
    using boost::system::result<T, Error>::result;
};

inline Error errno_while(std::string doing, int err = errno) {
    return {{err, boost::system::system_category()}, std::move(doing)};
}

// An error that no errno describes; the text says it all, and what to do about it.
inline Error problem(std::string text) {
    return {{}, std::move(text)};
}

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why) noexcept;

// Our own reasoning is broken: say why we believed it, and abort.
#define CV_CHECK(condition, why) \
    ((condition) ? void() : ::culvert::base::check_failed(__FILE__, __LINE__, #condition, why))

}
