// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <culvert/base/shortage.hpp>

#include "session.hpp"

namespace culvert::hbone {

template <class Work>
void Session::guard(Work&& work) {
    base::shortage::guard("a tunnel", work, [this] { run_out(); });
}

// One call into a session from outside. The outermost one settles what has come up inside, when no frame of nghttp2 is
// on the stack any more, and the session lives until then.
struct Session::Batch {
    explicit Batch(Session& s) : session{s.shared_from_this()} { ++session->depth_; }
    ~Batch() {
        // What fails for want of memory comes back as a failure of the session, once.
        for (bool settled = false; session->depth_ == 1 && !settled;) {
            settled = true;
            base::shortage::guard(
                "a tunnel", [this] { session->settle(); },
                [&] {
                    session->run_out();
                    settled = session->closed();
                });
        }
        --session->depth_;
    }
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    const std::shared_ptr<Session> session;
};

}
