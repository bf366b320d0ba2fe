// SPDX-License-Identifier: Apache-2.0
// Accepts from one listener of a pod. When descriptors or memory run out it waits, longer each time, instead of
// spinning: what waits in the backlog is not lost.
//
// Lives on: its worker. Owns: the listening descriptor.
#pragma once
#include <functional>

#include "context.hpp"

namespace culvert::proxy {

class Acceptor : base::Ready, base::RoundEnd {
public:
    using Handler = std::function<void(Accepted)>;
    Acceptor(Context& context, capture::Listener listener, Handler handler);

    base::Result<> start();
    // Takes what waits in the backlog, before the listener goes.
    void accept_rest();

private:
    void on_ready(std::uint32_t events) override;
    void on_round_end() override;
    base::Result<> watch();
    void accept_some();
    void let_others_accept();
    bool accept_one();
    void back_off(int error);

    static constexpr int per_round = 32;  // a burst of new connections must not hold back bytes of old ones
    Context& context_;
    capture::Listener listener_;
    base::SocketAddress own_address_;
    Handler handler_;
    base::Watch watch_;
    base::Timer retry_;
    bool took_some_ = false;  // since it was watched last
    std::chrono::milliseconds pause_{0};
    base::Loop::Clock::time_point may_warn_{};  // a shortage is said every ten seconds; its count is exact
};

}
