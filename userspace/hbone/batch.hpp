// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "session.hpp"

namespace culvert::hbone {

// One call into a session from outside. The outermost one settles what has come up inside, when no frame of nghttp2 is
// on the stack any more, and the session lives until then.
struct Session::Batch {
    explicit Batch(Session& s) : session{s.shared_from_this()} { ++session->depth_; }
    ~Batch() {
        if (session->depth_ == 1) session->settle();
        --session->depth_;
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    const std::shared_ptr<Session> session;
};

}
