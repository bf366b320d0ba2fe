// SPDX-License-Identifier: Apache-2.0
#include <culvert/hbone/server.hpp>

#include "session.hpp"

namespace culvert::hbone {

Incoming::Incoming(std::shared_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Incoming::Incoming(Incoming&&) noexcept = default;

Incoming& Incoming::operator=(Incoming&& other) noexcept {
    Incoming old{std::move(*this)};
    impl_ = std::move(other.impl_);
    return *this;
}

Incoming::~Incoming() {
    if (impl_) refuse(503);
}

const Request& Incoming::request() const noexcept {
    return impl_->request;
}
const std::string& Incoming::method() const noexcept {
    return impl_->method;
}
const TunnelInfo& Incoming::tunnel() const noexcept {
    return impl_->stream->session->info();
}
bool Incoming::gone() const noexcept {
    return impl_->stream->over || impl_->stream->failure;
}

void Incoming::refuse(int status) {
    if (std::exchange(impl_->answered, true)) return;
    impl_->stream->session->respond(*impl_->stream, status, {});
    Stream unused{impl_->stream};  // gives back the window of what came already
}

bool Incoming::has_first_bytes() const noexcept {
    return impl_->stream->has_early_bytes();
}

Stream Incoming::stream() const noexcept {
    return Stream{impl_->stream};
}

void Incoming::say_ok(const std::string& baggage) {
    if (std::exchange(impl_->answered, true)) return;
    impl_->stream->session->respond(*impl_->stream, 200, baggage);
}

Stream Incoming::accept(const std::string& baggage) {
    if (impl_->answered) return {};
    say_ok(baggage);
    return stream();
}

}
