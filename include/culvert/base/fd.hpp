// SPDX-License-Identifier: Apache-2.0
// Ownership of descriptors and of C library objects.
#pragma once
#include <unistd.h>

#include <memory>
#include <utility>

namespace culvert::base {

// Owns one file descriptor. A function that takes Fd keeps it; one that takes int borrows it.
class Fd {
public:
    Fd() = default;
    explicit Fd(int raw) noexcept : raw_{raw} {}
    Fd(Fd&& other) noexcept : raw_{std::exchange(other.raw_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    ~Fd() { reset(); }

    int get() const noexcept { return raw_; }
    int release() noexcept { return std::exchange(raw_, -1); }
    void reset() noexcept {
        if (raw_ >= 0) ::close(std::exchange(raw_, -1));
    }
    explicit operator bool() const noexcept { return raw_ >= 0; }

private:
    int raw_ = -1;
};

template <auto Free>
struct FreeWith {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};

// Owns an object of a C library: Handle<SSL_CTX, SSL_CTX_free>.
template <class T, auto Free>
using Handle = std::unique_ptr<T, FreeWith<Free>>;

}
