// SPDX-License-Identifier: Apache-2.0
#include "events.hpp"

#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>

namespace culvert::capture {

namespace asio = boost::asio;

// A pod may change its network all the time, and must not have the thread for itself.
constexpr std::chrono::milliseconds between_calls{50};

struct ChangeWatch::State {
    State(asio::io_context& io, int socket, std::function<void()> call)
        : descriptor{io, socket}, pause{io}, on_change{std::move(call)} {}

    // ENOBUFS means that changes were lost, which is a change.
    void drain() {
        char buffer[8192];
        while (::recv(descriptor.native_handle(), buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == ENOBUFS)
            errno = 0;
    }

    asio::posix::stream_descriptor descriptor;
    asio::steady_timer pause;
    std::function<void()> on_change;
};

namespace {

template <class State>
void wait_after_pause(std::shared_ptr<State> state);

template <class State>
void wait(std::shared_ptr<State> state) {
    auto& descriptor = state->descriptor;
    descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                          [state = std::move(state)](const boost::system::error_code& error) mutable {
                              if (error || !state->on_change) return;
                              state->drain();
                              state->on_change();
                              if (state->on_change) wait_after_pause(std::move(state));
                          });
}

template <class State>
void wait_after_pause(std::shared_ptr<State> state) {
    auto& pause = state->pause;
    pause.expires_after(between_calls);
    pause.async_wait([state = std::move(state)](const boost::system::error_code& cancelled) mutable {
        if (!cancelled && state->on_change) wait(std::move(state));
    });
}

}

ChangeWatch::ChangeWatch(asio::io_context& io, base::Fd socket, std::function<void()> on_change)
    : state_{std::make_shared<State>(io, socket.release(), std::move(on_change))} {
    wait(state_);
}

ChangeWatch::~ChangeWatch() {
    state_->on_change = nullptr;
    boost::system::error_code ignored;
    state_->descriptor.close(ignored);
    state_->pause.cancel();
}

}
