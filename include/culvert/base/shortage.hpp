// SPDX-License-Identifier: Apache-2.0
// Memory that could not be had. What asked for it ends alone: a connection, a tunnel. Nothing here needs any.
//
// Where it is caught: at the boundary of what is lost. A coroutine's task (task.hpp), a pump, a session, nghttp2's and
// OpenSSL's callbacks, an accept; behind all of them the loop, so that nothing of this kind ends the process.
#pragma once
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>

#include <culvert/base/result.hpp>

namespace culvert::base {

namespace shortage {

// Counts it, and says it at most once in ten seconds. `lost`: "a connection".
void note(std::string_view lost) noexcept;
std::uint64_t count() noexcept;
// "out of memory"
Error error() noexcept;

// Does the work; when memory is out, says what was lost, and does what is then left to do.
template <class Work, class Otherwise>
void guard(std::string_view lost, Work&& work, Otherwise&& otherwise) {
    try {
        work();
    } catch (const std::bad_alloc&) {
        note(lost);
        otherwise();
    }
}
template <class Work>
void guard(std::string_view lost, Work&& work) {
    guard(lost, work, [] {});
}

}

// An error that waits to be told. Without memory for it, it is another: that.
struct LetGo {
    void operator()(const Error* error) const noexcept;
};
using KeptError = std::unique_ptr<const Error, LetGo>;
KeptError keep(const Error& error) noexcept;
Error copy_of(const Error& error) noexcept;

}
